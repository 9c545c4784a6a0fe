"""``python -m walkforward_demo up | down``: the demo on a cluster of its own.

Exit status 0 only if each act ended as it must; otherwise it says what differed and keeps the logs.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from walkforward_cluster import ClusterError, images, open_cluster, tool
from walkforward_core.features import OHLCV
from walkforward_demo.acts import ACTS, Stage
from walkforward_demo.bars import eurusd
from walkforward_demo.clock import Clock
from walkforward_demo.evidence import keep_logs
from walkforward_demo.install import NAMESPACE, SECRET, install, upload
from walkforward_demo.remove import remove
from walkforward_demo.shell import CommandError, Shell
from walkforward_demo.view import View
from walkforward_demo.watch import ActFailed, Watch

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_AROUND = """
The cluster stays up. To look around:
  export KUBECONFIG={config}
  alias kubectl={kubectl}
  kubectl -n {namespace} get modelrollouts -o wide
  kubectl -n {namespace} describe modelrollout fx-fast
  kubectl -n {namespace} get events --sort-by=.lastTimestamp
  kubectl explain modelrollout.spec.gates
Remove it with: make demo-down"""


@dataclass(frozen=True, slots=True)
class Ended:
    """How one act ended."""

    title: str
    said: str
    passed: bool
    seconds: float


def up() -> int:
    """Set the stage, play the acts, say how they ended."""
    clock = Clock()
    view = View()
    cluster = open_cluster()
    cluster.up()
    built = {image.part: image for image in images.build()}
    clock.built()
    images.load(cluster, list(built.values()))
    shell = Shell(tool("kubectl"), tool("helm"), cluster.kubeconfig)
    install(shell, view, {part: image.tag for part, image in built.items()})
    bars = eurusd()
    upload(shell, view, bars)
    watch = Watch(shell, view.show)
    stage = Stage(shell, watch, view, bars, built["trainer"].tag, SECRET, OHLCV)
    watch.start()
    view.start()
    try:
        ended = [play(stage, number, *act) for number, act in enumerate(ACTS, start=1)]
    finally:
        view.stop()
        watch.stop()
    status = verdict(stage, ended)
    if status == 0:
        clock.keep()
    return status


def play(stage: Stage, number: int, title: str, act: Callable[[Stage], str]) -> Ended:
    """Play one act."""
    stage.view.say(f"act {number}: {title}", "bold")
    began = time.monotonic()
    try:
        said, passed = act(stage), True
    except (ActFailed, CommandError, KeyError) as error:
        said, passed = f"{type(error).__name__}: {error}", False
    stage.view.say(f"act {number} {'ended as expected' if passed else 'DIFFERED'}: {said}", "green" if passed else "red")
    return Ended(title, said, passed, time.monotonic() - began)


def verdict(stage: Stage, ended: list[Ended]) -> int:
    """Print what there is, how the acts ended and what to try; return the exit status."""
    print()
    print(stage.shell.kubectl("get", "modelretrains,modelrollouts", "-n", NAMESPACE))
    for number, one in enumerate(ended, start=1):
        print(f"act {number}  {one.seconds:5.0f} s  {'as expected' if one.passed else 'DIFFERED   '}  {one.title}\n       {one.said}")
    good = sum(one.passed for one in ended)
    if good != len(ended):
        print(f"\nlogs and objects are kept in {keep_logs(stage.shell)}")
    print(LOOK_AROUND.format(config=stage.shell.kubeconfig, kubectl=stage.shell.kubectl_path, namespace=NAMESPACE))
    print(f"\ndemo: {good} of {len(ended)} as expected", flush=True)
    return 0 if good == len(ended) else 1


def down() -> int:
    """Remove the cluster, and the demo with it; from a cluster that is not ours, the demo alone."""
    cluster = open_cluster()
    if not cluster.ours:
        cluster.up()
        remove(Shell(tool("kubectl"), tool("helm"), cluster.kubeconfig), View())
    cluster.down()
    return 0


def main() -> int:
    """Run the command that was asked for."""
    parser = argparse.ArgumentParser(prog="walkforward_demo", description=__doc__)
    parser.add_argument("command", choices=["up", "down"])
    command = parser.parse_args().command
    try:
        return up() if command == "up" else down()
    except (ClusterError, CommandError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
