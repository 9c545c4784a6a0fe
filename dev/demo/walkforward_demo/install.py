"""Sets the stage: cluster, images, operator, object store, three inference Deployments, market data. All by Helm, as a user would."""

from __future__ import annotations

import json
import subprocess
from base64 import b64decode
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from walkforward_core.objectstore import open_store
from walkforward_demo.bars import VENDOR_UNIT
from walkforward_demo.shell import CommandError, Shell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from walkforward_demo.bars import Bars
    from walkforward_demo.view import View

__all__ = ["MADE_BY", "NAMESPACE", "SECRET", "SERVERS", "SYSTEM", "install", "upload"]

ROOT = Path(__file__).resolve().parents[3]
SYSTEM = "walkforward-system"
NAMESPACE = "fx"
SERVERS = {"fx-server": 2, "fx-fast-server": 2, "fx-direction-server": 1}
"""Inference Deployments and their replicas."""
SECRET = "walkforward-object-store"
MADE_BY = "made-by=walkforward-demo"
"""The label of namespaces and releases that the demo has made: `make demo-down` removes no others."""


def install(shell: Shell, view: View, images: dict[str, str]) -> None:
    """Install operator, object store and inference Deployments; ``images`` maps operator, trainer and server to their tags."""
    view.say(f"installing the operator and an object store into {SYSTEM}, model servers into {NAMESPACE}")
    _claim(shell, SYSTEM, NAMESPACE)
    charts = ROOT / "charts"
    shell.helm(
        "upgrade", "--install", "walkforward", str(charts / "walkforward"), "-n", SYSTEM,
        "-f", str(charts / "walkforward" / "values-demo.yaml"),
        "--set", f"watchNamespaces={{{NAMESPACE}}}", "--set", f"image.tag={_tag(images['operator'])}",
        "--set", f"trainer.image.tag={_tag(images['trainer'])}", "--labels", MADE_BY, "--wait", "--timeout", "3m",
    )  # fmt: skip
    for name, replicas in SERVERS.items():
        shell.helm(
            "upgrade", "--install", name, str(charts / "model-server"), "-n", NAMESPACE, "--set", f"fullnameOverride={name}",
            "--set", f"replicas={replicas}", "--set", f"image.tag={_tag(images['server'])}", "--labels", MADE_BY,
        )  # fmt: skip
    script = (ROOT / "dev" / "demo" / "replayer" / "replayer.py").read_text()
    shell.apply(_config_map("replayer", {"replayer.py": script}))


def upload(shell: Shell, view: View, bars: Bars) -> None:
    """Put the bars, and the vendor's copy, into the bucket ``bars``."""
    view.say("uploading 5,000 real EURUSD bars, and a vendor's copy whose volume is counted in thousandths")
    credentials = shell.get("secret", SECRET, "-n", NAMESPACE)[0]["data"]
    with _forwarded(shell) as address:
        environment = {name: b64decode(value).decode() for name, value in credentials.items()}
        store = open_store("s3://bars", allow_file=False, env={**environment, "AWS_ENDPOINT_URL": address})
        store.put("s3://bars/eurusd.csv", bars.csv())
        store.put("s3://bars/eurusd-vendor.csv", bars.csv(volume_unit=VENDOR_UNIT))


@contextmanager
def _forwarded(shell: Shell) -> Iterator[str]:
    """Forward a loopback port to the object store: that works on every kind of cluster."""
    service = shell.get("service", "-n", SYSTEM, "-l", "app.kubernetes.io/component=object-store")[0]["metadata"]["name"]
    command = [str(shell.kubectl_path), "--kubeconfig", str(shell.kubeconfig), "port-forward", "-n", SYSTEM, f"service/{service}", ":7070"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as forward:
        try:
            line = forward.stdout.readline() if forward.stdout else ""
            if "127.0.0.1:" not in line:
                raise CommandError(f"kubectl port-forward to service/{service} said {line!r} instead of the port that it listens on")
            yield "http://127.0.0.1:" + line.split("127.0.0.1:")[1].split(" ")[0]
        finally:
            forward.terminate()


def _tag(image: str) -> str:
    return image.rsplit(":", 1)[1]


def _claim(shell: Shell, *names: str) -> None:
    """Make the namespaces, unless the demo has made them before; somebody else's are not touched.

    Raises
    ------
    CommandError
        There is one that the demo has not made.
    """
    label, _, value = MADE_BY.partition("=")
    for name in names:
        there = shell.get("namespaces", "--field-selector", f"metadata.name={name}")
        if there and (there[0]["metadata"].get("labels") or {}).get(label) != value:
            raise CommandError(
                f"namespace {name} is there and not labelled {MADE_BY}: the demo leaves alone what it has not made; delete it"
            )
    for name in names:
        shell.apply(_namespace(name))


def _namespace(name: str) -> str:
    label, _, value = MADE_BY.partition("=")
    labels = {"pod-security.kubernetes.io/enforce": "restricted", label: value}
    return json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})


def _config_map(name: str, data: dict[str, str]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": NAMESPACE}, "data": data})
