"""The API as any user: what `kubectl --as` does, without a process for each request."""

from __future__ import annotations

import json
import ssl
import subprocess
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import httpx

from walkforward_cluster import tool

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_PLURALS = {
    "NetworkPolicy": "networkpolicies",
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "Ingress": "ingresses",
}
_CLUSTER_SCOPED = {
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "Namespace",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
}
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"


def path_of(item: dict[str, Any], *, named: bool, subresource: str = "") -> str:
    """The path of an object, or of the collection that it is created in."""
    group = item["apiVersion"]
    prefix = "/api/v1" if group == "v1" else f"/apis/{group}"
    metadata = item["metadata"]
    plural = _PLURALS.get(item["kind"], item["kind"].lower() + "s")
    scope = "" if item["kind"] in _CLUSTER_SCOPED else f"/namespaces/{metadata['namespace']}"
    tail = [part for part in (metadata["name"] if named else "", subresource) if part]
    return "/".join([f"{prefix}{scope}/{plural}", *tail])


@dataclass(frozen=True)
class Kube:
    """One user. Bodies are plain dicts; the API server's answer comes back as it is, refusals included."""

    client: httpx.Client
    kubeconfig: Path
    user: str = ""
    groups: tuple[str, ...] = field(default=())

    @classmethod
    def admin(cls, server: str, kubeconfig: Path, pki: Path) -> Kube:
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        return cls(httpx.Client(base_url=server, verify=context, timeout=30.0), kubeconfig)

    def as_user(self, user: str, *groups: str) -> Kube:
        """The same API as somebody else."""
        return replace(self, user=user, groups=("system:authenticated", *groups))

    def as_account(self, namespace: str, name: str) -> Kube:
        """The same API as a ServiceAccount."""
        return self.as_user(f"system:serviceaccount:{namespace}:{name}", "system:serviceaccounts", f"system:serviceaccounts:{namespace}")

    def request(self, method: str, path: str, body: Any = None, *, kind: str = "application/json", **query: str) -> httpx.Response:
        headers = [("Content-Type", kind)]
        if self.user:
            headers += [("Impersonate-User", self.user), *(("Impersonate-Group", group) for group in self.groups)]
        content = None if body is None else json.dumps(body)
        return self.client.request(method, path, content=content, headers=headers, params=query)

    def create(self, item: dict[str, Any], **query: str) -> httpx.Response:
        return self.request("POST", path_of(item, named=False), item, **query)

    def get(self, item: dict[str, Any]) -> httpx.Response:
        return self.request("GET", path_of(item, named=True))

    def patch(self, item: dict[str, Any], change: dict[str, Any], *, subresource: str = "", **query: str) -> httpx.Response:
        return self.request("PATCH", path_of(item, named=True, subresource=subresource), change, kind=MERGE, **query)

    def apply(self, item: dict[str, Any], *, subresource: str = "", manager: str = "test") -> httpx.Response:
        path = path_of(item, named=True, subresource=subresource)
        return self.request("PATCH", path, item, kind=APPLY, fieldManager=manager, force="true")

    def replace(self, item: dict[str, Any], *, subresource: str = "") -> httpx.Response:
        return self.request("PUT", path_of(item, named=True, subresource=subresource), item)

    def delete(self, item: dict[str, Any]) -> httpx.Response:
        return self.request("DELETE", path_of(item, named=True))

    def kubectl(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return self._run("kubectl", arguments, stdin)

    def helm(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run("helm", arguments, None)

    def _run(self, name: str, arguments: Sequence[str], stdin: str | None) -> subprocess.CompletedProcess[str]:
        command = [str(tool(name)), f"--kubeconfig={self.kubeconfig}", *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=110)


def message(answer: httpx.Response) -> str:
    """What the API server says."""
    return str(answer.json().get("message", ""))


def deep(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """A merge patch applied to a copy of ``base``: None removes."""
    merged = dict(base)
    for name, value in change.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict) and isinstance(merged.get(name), dict):
            merged[name] = deep(merged[name], value)
        else:
            merged[name] = value
    return merged
