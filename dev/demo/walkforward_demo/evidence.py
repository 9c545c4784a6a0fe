"""What is kept when an act differed: objects, events and logs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from walkforward_demo.install import NAMESPACE, SYSTEM
from walkforward_demo.shell import CommandError

if TYPE_CHECKING:
    from walkforward_demo.shell import Shell

__all__ = ["keep_logs"]

ROOT = Path(__file__).resolve().parents[3]
KINDS = "modelretrains,modelrollouts,configmaps,jobs,pods"


def keep_logs(shell: Shell) -> Path:
    """Write objects, events and logs of both namespaces below the checkout's working folder, return where."""
    folder = ROOT / ".work" / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    for namespace in (NAMESPACE, SYSTEM):
        _keep(
            folder / f"{namespace}-objects.yaml",
            shell,
            "get",
            "modelretrains,modelrollouts,configmaps,jobs,pods",
            "-o",
            "yaml",
            "-n",
            namespace,
        )
        _keep(folder / f"{namespace}-events.txt", shell, "get", "events", "-n", namespace, "--sort-by=.lastTimestamp")
        for pod in shell.get("pods", "-n", namespace):
            name = pod["metadata"]["name"]
            _keep(folder / f"{namespace}-{name}.log", shell, "logs", "-n", namespace, name, "--all-containers", "--tail=2000")
    return folder


def _keep(file: Path, shell: Shell, *words: str) -> None:
    try:
        text = shell.kubectl(*words)
    except CommandError as error:
        text = f"could not be had: {error}\n"
    file.write_text(text)
