"""The command line: `python -m walkforward_cluster up | down | status | kubeconfig | build | images | api-only | tool`."""

from __future__ import annotations

import argparse
import signal
import sys
from contextlib import suppress

from walkforward_cluster import images
from walkforward_cluster.api_only import ApiOnly
from walkforward_cluster.binaries import ensure, tool
from walkforward_cluster.cluster import open_cluster
from walkforward_cluster.errors import ClusterError


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 when it did what it says."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="walkforward_cluster", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    for name, run, text in (
        ("up", _up, "start the cluster (CONTEXT=… uses an existing one)"),
        ("down", _down, "remove the cluster and every trace of it"),
        ("status", _status, "what runs; exit status 0 only if all is well"),
        ("kubeconfig", _kubeconfig, "the path of the kubeconfig"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--name", help="another name than the one derived from this checkout")
        command.set_defaults(run=run)
    build = commands.add_parser("build", help="build the binaries, which `up` would do too")
    build.set_defaults(run=_build)
    pictures = commands.add_parser(
        "images", help="build the project's container images (those that changed); load: import them into the cluster"
    )
    pictures.add_argument("action", choices=["build", "load"])
    pictures.add_argument("part", nargs="*", help=f"only these of {', '.join(images.PARTS)}")
    pictures.add_argument("--name", help="the cluster to load into")
    pictures.set_defaults(run=_images)
    alone = commands.add_parser("api-only", help="a control plane without nodes, until interrupted")
    alone.add_argument("--kwok-nodes", type=int, default=0)
    alone.set_defaults(run=_api_only)
    which = commands.add_parser("tool", help="the path of kubectl, helm, versitygw, …")
    which.add_argument("tool")
    which.set_defaults(run=_tool)
    return parser


def _up(options: argparse.Namespace) -> None:
    cluster = open_cluster(options.name)
    cluster.up()
    print(cluster.kubeconfig)


def _down(options: argparse.Namespace) -> None:
    open_cluster(options.name).down()


def _status(options: argparse.Namespace) -> int:
    healthy, lines = open_cluster(options.name).status()
    print("\n".join(lines))
    return 0 if healthy else 1


def _kubeconfig(options: argparse.Namespace) -> None:
    print(open_cluster(options.name).kubeconfig)


def _build(_: argparse.Namespace) -> None:
    print(ensure())


def _images(options: argparse.Namespace) -> None:
    built = images.build(options.part or images.PARTS)
    if options.action == "load":
        images.load(open_cluster(options.name), built)
    for image in built:
        print(f"{image.tag}\t{image.archive}")


def _api_only(options: argparse.Namespace) -> None:
    with ApiOnly(kwok_nodes=options.kwok_nodes) as api, suppress(KeyboardInterrupt):
        print(api.kubeconfig, flush=True)
        signal.pause()


def _tool(options: argparse.Namespace) -> None:
    print(tool(options.tool))


if __name__ == "__main__":
    sys.exit(main())
