"""How this machine's pip reaches its packages, handed to builds as mounts: nothing of it stays in an image or a layer."""

from __future__ import annotations

import configparser
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from walkforward_cluster.shell import run

_WANTED = ("index-url", "extra-index-url", "trusted-host", "find-links", "no-index", "proxy", "timeout", "retries")
_LINE = re.compile(r"^(?P<section>[^.=]+)\.(?P<option>[\w-]+)='(?P<value>.*)'$")
_CA_VARIABLES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE")
_CA_INSIDE = "/etc/ssl/certs/ca-certificates.crt"


@dataclass(frozen=True, slots=True)
class PipAccess:
    """Volumes (outside, inside) that make pip inside a build work as it does here."""

    volumes: tuple[tuple[Path, str], ...]


def settings(listing: str) -> dict[str, str]:
    """What `pip config list` says, later lines (the environment) winning; only what leads to packages."""
    found: dict[str, str] = {}
    for line in listing.splitlines():
        match = _LINE.match(line.strip())
        if match and match["option"] in (*_WANTED, "cert") and match["section"] in {"global", "install", ":env:"}:
            found[match["option"]] = match["value"]
    return found


def prepare(folder: Path) -> PipAccess:
    """Write a pip.conf into `folder` and say what to mount."""
    found = settings(run([sys.executable, "-m", "pip", "config", "list"]).stdout)
    bundle = _bundle(found.pop("cert", None))
    volumes: list[tuple[Path, str]] = []
    links = Path(found.get("find-links", ""))
    if links.is_dir() and any(links.iterdir()):
        volumes.append((links, str(links)))
    elif not found.get("find-links", "").startswith("http"):
        found.pop("find-links", None)  # a folder that does not exist inside would only warn
    if bundle is not None:
        found["cert"] = _CA_INSIDE
        volumes.append((bundle, _CA_INSIDE))
    config = configparser.ConfigParser(interpolation=None)
    config["global"] = {**found, "disable-pip-version-check": "1"}
    with (folder / "pip.conf").open("w") as sink:
        config.write(sink)
    volumes.append((folder / "pip.conf", "/etc/pip.conf"))
    return PipAccess(tuple(volumes))


def _bundle(configured: str | None) -> Path | None:
    candidates = [configured, *(os.environ.get(name) for name in _CA_VARIABLES)]
    return next((Path(path) for path in candidates if path and Path(path).is_file()), None)
