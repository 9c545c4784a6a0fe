"""The binaries, built from one Go module and kept by the content of that module."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from walkforward_cluster.errors import ClusterError
from walkforward_cluster.locks import locked
from walkforward_cluster.packages import find
from walkforward_cluster.paths import cache, content_key, go_module, tree
from walkforward_cluster.progress import say, step
from walkforward_cluster.shell import run_logged

KUBERNETES = "v1.34.4"
HELM = "v3.19.5"  # the newest on the client libraries of Kubernetes 1.34, whose compile it shares
VERSITYGW = "v1.8.0"

_VERSION = "k8s.io/component-base/version"
_STAMPS = {
    f"{_VERSION}.gitVersion": KUBERNETES,
    f"{_VERSION}.gitMajor": "1",
    f"{_VERSION}.gitMinor": "34",
    f"{_VERSION}.gitTreeState": "clean",
    "helm.sh/helm/v3/internal/version.version": HELM,
    "main.Version": VERSITYGW,
}
_BUILT = {
    "kube": "./kube",
    "kubectl": "./kubectl",
    "coredns": "./coredns",
    "pause": "./pause",
    "helm": "helm.sh/helm/v3/cmd/helm",
    "kwok": "sigs.k8s.io/kwok/cmd/kwok",
    "versitygw": "github.com/versity/versitygw/cmd/versitygw",
}
# One file, run under the name of the component it is to be.
_LINKS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet")
_COMPLETE = ".complete"


def tool(name: str) -> Path:
    """The path of a binary (`kubectl`, `helm`, `kube-apiserver`, …), built first where it is not there yet."""
    if name not in _BUILT and name not in _LINKS:
        raise ClusterError(f"no binary {name}", reason="the module does not build it", next_step=f"one of {', '.join([*_BUILT, *_LINKS])}")
    return ensure() / name


def folder() -> Path:
    """Where the binaries of this very module are or will be."""
    return cache() / "bin" / key()


def key() -> str:
    """The key of everything that decides the result, the compiler excepted (any that go.mod accepts does)."""
    sources = [entry for entry in tree(go_module(), go_module()) if entry[0].endswith((".go", "go.mod", "go.sum"))]
    stamps = [f"{name}={value}" for name, value in sorted(_STAMPS.items())]
    return content_key(sources, *stamps, *sorted(_BUILT.values()), os.uname().machine)


def ensure() -> Path:
    """The folder with all binaries; built once per machine and user, however many clones ask for it."""
    target = folder()
    if (target / _COMPLETE).exists():
        return target
    with locked(cache() / "bin" / "build.lock", "building the binaries"):
        if not (target / _COMPLETE).exists():
            _build(target)
    return target


def _build(target: Path) -> None:
    go = find("go")
    if go is None:
        raise ClusterError(
            "cannot build the binaries", reason="Go is not installed", next_step="install Go 1.26 or newer and put it on PATH"
        )
    log = cache() / "logs" / "go-build.log"
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        with step(f"building Kubernetes {KUBERNETES}, Helm, CoreDNS, versitygw and kwok from Go modules (about 7 min on two cores, once)"):
            run_logged(
                _command(go, partial),
                log,
                cwd=go_module(),
                env=_environment(),
                hint="see the log; a network failure is cured by a second run",
            )
        for link in _LINKS:
            (partial / link).symlink_to("kube")
        (partial / _COMPLETE).touch()
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    target.chmod(0o755)
    for name in _BUILT:
        say(f"  {name}: {(target / name).stat().st_size / 1e6:.0f} MB")


def _command(go: str, out: Path) -> list[str]:
    stamps = " ".join(f"-X {name}={value}" for name, value in _STAMPS.items())
    return ["nice", go, "build", "-trimpath", "-buildvcs=false", "-ldflags", f"-s -w {stamps}", "-o", f"{out}/", *_BUILT.values()]


def _environment() -> dict[str, str]:
    # GOFLAGS of the caller could ask for other tags or a vendor folder; a proxy setting must stay.
    return {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}
