"""`make demo-down` in a cluster that is not ours: the demo goes, and what others have stays."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from examples import retrain
from kube import Kube
from rich.console import Console

from walkforward_cluster import ApiOnly, tool
from walkforward_demo.install import MADE_BY, NAMESPACE, install
from walkforward_demo.remove import remove
from walkforward_demo.shell import CommandError, Shell
from walkforward_demo.view import View

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration
IMAGES = {part: f"walkforward/{part}:test" for part in ("operator", "trainer", "server")}


class Impatient(Shell):
    """No node is here, so nothing that is installed would ever be ready."""

    def helm(self, *words: str, timeout: float = 300.0) -> str:
        patience = "--wait" if words[0] == "uninstall" else ""
        return super().helm(*(word for word in words if word != "--wait" or word == patience), timeout=timeout)


@pytest.fixture(scope="module")
def foreign() -> Iterator[tuple[Kube, Shell]]:
    """A cluster without nodes, and the tools."""
    with ApiOnly() as api:
        kube = Kube.admin(api.server, api.kubeconfig, api.state / "pki")
        yield kube, Impatient(tool("kubectl"), tool("helm"), api.kubeconfig)
        kube.client.close()


def namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def names(shell: Shell, kind: str) -> set[str]:
    return {one["metadata"]["name"] for one in shell.get(kind)}


@pytest.mark.timeout(400)
def test_the_demo_goes_and_what_others_have_stays(foreign: tuple[Kube, Shell]) -> None:
    kube, shell = foreign
    said = io.StringIO()
    view = View(Console(file=said, width=200))
    before = {kind: names(shell, kind) for kind in ("namespaces", "crds", "clusterroles", "validatingadmissionpolicies")}
    remove(shell, view)
    assert "nothing here is the demo's" in said.getvalue()

    kube.create(namespace(NAMESPACE)).raise_for_status()
    with pytest.raises(CommandError, match=f"namespace {NAMESPACE} is there and not labelled {MADE_BY}"):
        install(shell, view, IMAGES)
    kube.delete(namespace(NAMESPACE)).raise_for_status()
    shell.kubectl("wait", "--for=delete", f"namespace/{NAMESPACE}", "--timeout=60s", timeout=70)

    install(shell, view, IMAGES)
    kube.create(namespace("theirs")).raise_for_status()
    for where in (NAMESPACE, "theirs"):
        kube.create(retrain(where)).raise_for_status()

    remove(shell, view)
    assert "CRD modelretrains.walkforward.dev stays: there are objects of it in theirs" in said.getvalue()
    assert names(shell, "namespaces") == before["namespaces"] | {"theirs"}
    assert names(shell, "crds") - before["crds"] == {"modelretrains.walkforward.dev"}
    for kind in ("clusterroles", "validatingadmissionpolicies"):
        assert names(shell, kind) == before[kind]
    assert shell.get("modelretrains", "-n", "theirs")
