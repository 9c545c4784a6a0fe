"""What a bare control plane lacks: rights of the API server on kubelets, DNS, and volumes for claims."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from walkforward_cluster.addresses import Addresses

COREDNS_IMAGE = "docker.io/walkforward/coredns:dev"
_VOLUMES = 48  # a claim uses one up: nobody cleans a volume for the next claim
_DNS_PORT = 1053
# Two blocks, since CoreDNS asks `template` before `kubernetes` whatever their order here. Names of the outside do not exist: said at once.
_COREFILE = f"""cluster.local:{_DNS_PORT} in-addr.arpa:{_DNS_PORT} ip6.arpa:{_DNS_PORT} {{
    errors
    health
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        pods insecure
        ttl 5
    }}
    cache 5
}}
.:{_DNS_PORT} {{
    template ANY ANY . {{
        rcode NXDOMAIN
    }}
}}
"""
_RBAC = "rbac.authorization.k8s.io"


def manifests(addresses: Addresses, volumes: Path, node: str) -> list[dict[str, Any]]:
    """All objects, in the order in which they are applied."""
    return [*_kubelet_rights(), *_dns_rights(), *_dns(addresses.dns), _storage_class(), *_volumes(volumes, node)]


def volume_folders(volumes: Path) -> list[Path]:
    """The folders behind the volumes."""
    return [volumes / f"{index:02d}" for index in range(_VOLUMES)]


def _kubelet_rights() -> list[dict[str, Any]]:
    return [
        _binding("walkforward:apiserver-kubelet-api", "system:kubelet-api-admin", {"kind": "User", "name": "kube-apiserver-kubelet-client"})
    ]


def _dns_rights() -> list[dict[str, Any]]:
    rules = [
        {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    account = {"kind": "ServiceAccount", "name": "coredns", "namespace": "kube-system"}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "coredns", "namespace": "kube-system"}},
        {"apiVersion": f"{_RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": "system:coredns"}, "rules": rules},
        _binding("system:coredns", "system:coredns", account),
    ]


def _binding(name: str, role: str, subject: dict[str, str]) -> dict[str, Any]:
    if subject["kind"] == "User":
        subject = {**subject, "apiGroup": _RBAC}
    reference = {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role}
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": reference,
        "subjects": [subject],
    }


def _dns(address: str) -> list[dict[str, Any]]:
    metadata = {"name": "kube-dns", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}}
    ports = [{"name": f"dns-{protocol.lower()}", "port": 53, "targetPort": _DNS_PORT, "protocol": protocol} for protocol in ("UDP", "TCP")]
    labels = {"k8s-app": "kube-dns"}
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {**metadata, "name": "coredns"}, "data": {"Corefile": _COREFILE}},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {**metadata, "name": "coredns"},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": _dns_pod()},
            },
        },
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"clusterIP": address, "selector": labels, "ports": ports}},
    ]


def _dns_pod() -> dict[str, Any]:
    return {
        "serviceAccountName": "coredns",
        "priorityClassName": "system-cluster-critical",
        "dnsPolicy": "Default",
        "containers": [
            {
                "name": "coredns",
                "image": COREDNS_IMAGE,
                "imagePullPolicy": "IfNotPresent",
                "args": ["-conf", "/etc/coredns/Corefile"],
                "resources": {"requests": {"cpu": "10m", "memory": "30Mi"}, "limits": {"memory": "170Mi"}},
                "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
                "livenessProbe": {"httpGet": {"path": "/health", "port": 8080}, "periodSeconds": 10, "failureThreshold": 6},
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "runAsNonRoot": True,
                    "capabilities": {"drop": ["ALL"]},
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns", "readOnly": True}],
            }
        ],
        "volumes": [{"name": "config", "configMap": {"name": "coredns"}}],
    }


def _storage_class() -> dict[str, Any]:
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"}
    # The name that kind uses too, so that a chart's values fit both.
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "standard", "annotations": annotations},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "Immediate",
    }


def _volumes(root: Path, node: str) -> list[dict[str, Any]]:
    """Volumes made beforehand, in place of a provisioner: folders of the node, writable for any user of a pod."""
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": f"{node}-{folder.name}"},
            "spec": {
                "capacity": {"storage": "10Gi"},
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": "standard",
                "hostPath": {"path": str(folder), "type": "Directory"},
            },
        }
        for folder in volume_folders(root)
    ]
