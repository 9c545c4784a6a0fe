"""What README.md says is applied as it stands, and `kubectl get` answers with the columns that it shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from walkforward_cluster import tool
from walkforward_demo.shell import Shell

if TYPE_CHECKING:
    from api_server import RealApi
    from kube import Kube

pytestmark = pytest.mark.integration
README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the code blocks of a language; between two fences there is a block every other time."""
    parts = re.split(r"^```(.*)$", README, flags=re.MULTILINE)
    return [text for named, text in zip(parts[1::4], parts[2::4], strict=True) if named == language]


def test_the_manifest_is_taken_as_it_stands(api: RealApi, kube: Kube) -> None:
    shell = Shell(tool("kubectl"), tool("helm"), api.kubeconfig)
    [manifest] = [text for text in blocks("yaml") if "kind: ModelRollout" in text]
    objects = list(yaml.safe_load_all(manifest))
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": objects[0]["metadata"]["namespace"]}}
    kube.create(namespace).raise_for_status()
    try:
        said = shell.kubectl("apply", "--validate=strict", "-f", "-", stdin=manifest)
        assert [line.split()[-1] for line in said.splitlines()] == ["created"] * len(objects)
        for item in objects:
            assert _within(item["spec"], kube.get(item).json()["spec"])
    finally:
        kube.delete(namespace)


def test_the_columns_are_those_that_it_shows(api: RealApi, kube: Kube, namespace: str) -> None:
    shell = Shell(tool("kubectl"), tool("helm"), api.kubeconfig)
    [manifest] = [text for text in blocks("yaml") if "kind: ModelRollout" in text]
    for item in yaml.safe_load_all(manifest):
        item["metadata"]["namespace"] = namespace
        kube.create(item).raise_for_status()
    shown = {tuple(line.split()) for text in blocks("") for line in text.splitlines() if re.match(r"NAME\s+PHASE\s", line)}
    for kind in ("modelretrains", "modelrollouts"):
        columns = tuple(shell.kubectl("get", kind, "-n", namespace).splitlines()[0].split())
        assert columns in shown
        shown.discard(columns)
    assert not shown


def _within(said: object, stored: object) -> bool:
    """Whether everything that was said is stored, beside defaults."""
    if isinstance(said, dict):
        return isinstance(stored, dict) and all(key in stored and _within(value, stored[key]) for key, value in said.items())
    if isinstance(said, list):
        return isinstance(stored, list) and len(said) == len(stored) and all(map(_within, said, stored))
    return said == stored
