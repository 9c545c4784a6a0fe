"""Takes the demo out of a cluster that is not ours: what is labelled as made by it, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from walkforward_demo.install import MADE_BY, NAMESPACE, SYSTEM

if TYPE_CHECKING:
    from walkforward_demo.shell import Shell
    from walkforward_demo.view import View

__all__ = ["remove"]

_KINDS: Final = ("modelrollouts.walkforward.dev", "modelretrains.walkforward.dev")
_RELEASE: Final = "walkforward"


def remove(shell: Shell, view: View) -> None:
    """Remove objects, releases, CRDs and namespaces of the demo, in the order in which each can still go in peace."""
    names = [name for name in (NAMESPACE, SYSTEM) if _ours(shell, name)]
    if not names:
        view.say(f"neither namespace {NAMESPACE} nor {SYSTEM} is labelled {MADE_BY}: nothing here is the demo's")
        return
    crds = _crds(shell)
    if NAMESPACE in names and crds:
        view.say(f"deleting the demo's ModelRollouts and ModelRetrains in {NAMESPACE}, while the operator is there to let them go")
        shell.kubectl("delete", ",".join(_KINDS), "--all", "-n", NAMESPACE, "--timeout=90s", timeout=120)
    for name in names:
        for release in shell.helm("list", "-q", "-n", name, "-l", MADE_BY).split():
            view.say(f"uninstalling release {release} of {name}")
            shell.helm("uninstall", release, "-n", name, "--wait", "--timeout", "2m")
    _remove_crds(shell, view, crds)
    for name in names:
        view.say(f"deleting namespace {name}")
        shell.kubectl("delete", "namespace", name, "--timeout=120s", timeout=150)


def _ours(shell: Shell, namespace: str) -> bool:
    return bool(shell.get("namespaces", "-l", MADE_BY, "--field-selector", f"metadata.name={namespace}"))


def _crds(shell: Shell) -> list[dict[str, Any]]:
    """Return the CRDs that the demo's release has put here; another release's are left alone."""
    found = [one for one in shell.get("crds") if one["metadata"]["name"] in _KINDS]
    return [one for one in found if _owner(one) == (_RELEASE, SYSTEM)]


def _owner(crd: dict[str, Any]) -> tuple[str, str]:
    notes = crd["metadata"].get("annotations") or {}
    return notes.get("meta.helm.sh/release-name", ""), notes.get("meta.helm.sh/release-namespace", "")


def _remove_crds(shell: Shell, view: View, crds: list[dict[str, Any]]) -> None:
    """Remove the CRDs, unless somebody else has objects of them: those would go with them."""
    for crd in crds:
        name = crd["metadata"]["name"]
        others = sorted({one["metadata"]["namespace"] for one in shell.get(name, "--all-namespaces")} - {NAMESPACE})
        if others:
            view.say(f"CRD {name} stays: there are objects of it in {', '.join(others)}")
        else:
            view.say(f"deleting CRD {name}")
            shell.kubectl("delete", "crd", name, "--timeout=60s", timeout=90)
