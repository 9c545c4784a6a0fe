"""Command lines of the control plane; the full cluster and the API-only mode share them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the components listen; in a network namespace of its own these defaults are free."""

    api: int = 6443
    etcd: int = 2379
    etcd_peer: int = 2380
    controllers: int = 10257
    scheduler: int = 10259


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """What the command lines depend on. `bin` holds one link per component."""

    bin: Path
    state: Path
    address: str
    ports: Ports
    service_cidr: str
    kubelets: bool

    @property
    def server(self) -> str:
        """The API server's address for clients."""
        return f"https://{self.address}:{self.ports.api}"

    def etcd(self) -> list[str]:
        """Etcd with TLS on loopback. No fsync: the data of a development cluster need not survive a power cut."""
        url, peer = f"https://127.0.0.1:{self.ports.etcd}", f"https://127.0.0.1:{self.ports.etcd_peer}"
        pki = self.state / "pki"
        return [
            str(self.bin / "etcd"),
            f"--data-dir={self.state / 'etcd'}",
            "--name=etcd",
            "--unsafe-no-fsync",
            f"--listen-client-urls={url}",
            f"--advertise-client-urls={url}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=etcd={peer}",
            f"--cert-file={pki / 'etcd.crt'}",
            f"--key-file={pki / 'etcd.key'}",
            "--client-cert-auth",
            f"--trusted-ca-file={pki / 'etcd-ca.crt'}",
            f"--peer-cert-file={pki / 'etcd.crt'}",
            f"--peer-key-file={pki / 'etcd.key'}",
            "--peer-client-cert-auth",
            f"--peer-trusted-ca-file={pki / 'etcd-ca.crt'}",
            "--log-level=warn",
        ]

    def apiserver(self) -> list[str]:
        """The API server: RBAC and Node authorisation, no anonymous requests, so probes too need a certificate."""
        pki = self.state / "pki"
        issuer = "https://kubernetes.default.svc.cluster.local"
        flags = [
            str(self.bin / "kube-apiserver"),
            f"--etcd-servers=https://127.0.0.1:{self.ports.etcd}",
            f"--etcd-cafile={pki / 'etcd-ca.crt'}",
            f"--etcd-certfile={pki / 'etcd-client.crt'}",
            f"--etcd-keyfile={pki / 'etcd-client.key'}",
            f"--bind-address={self.address}",
            f"--advertise-address={self.address}",
            f"--secure-port={self.ports.api}",
            f"--tls-cert-file={pki / 'kube-apiserver.crt'}",
            f"--tls-private-key-file={pki / 'kube-apiserver.key'}",
            f"--client-ca-file={pki / 'ca.crt'}",
            "--anonymous-auth=false",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            f"--service-cluster-ip-range={self.service_cidr}",
            f"--service-account-issuer={issuer}",
            f"--service-account-key-file={pki / 'service-account.pub'}",
            f"--service-account-signing-key-file={pki / 'service-account.key'}",
            f"--requestheader-client-ca-file={pki / 'front-proxy-ca.crt'}",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={pki / 'front-proxy.crt'}",
            f"--proxy-client-key-file={pki / 'front-proxy.key'}",
            "--profiling=false",
        ]
        return flags + (self._kubelet_flags() if self.kubelets else ["--endpoint-reconciler-type=none"])

    def _kubelet_flags(self) -> list[str]:
        pki = self.state / "pki"
        return [
            f"--kubelet-certificate-authority={pki / 'ca.crt'}",
            f"--kubelet-client-certificate={pki / 'kube-apiserver-kubelet.crt'}",
            f"--kubelet-client-key={pki / 'kube-apiserver-kubelet.key'}",
            # exec and port-forward would else try to resolve the node's name
            "--kubelet-preferred-address-types=InternalIP",
        ]

    def controller_manager(self) -> list[str]:
        """The controllers, each with its own ServiceAccount; without those the built-in roles forbid it to create pods."""
        pki = self.state / "pki"
        return [
            str(self.bin / "kube-controller-manager"),
            *self._client_flags("kube-controller-manager"),
            f"--secure-port={self.ports.controllers}",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={pki / 'service-account.key'}",
            f"--root-ca-file={pki / 'ca.crt'}",
            "--leader-elect=false",
            "--allocate-node-cidrs=false",
            "--profiling=false",
            "--concurrent-namespace-syncs=20",
            # After an outage of the API server of more than the default 50 s, the one node would count as lost for some seconds and its
            # pods leave every Service. Elsewhere a controller manager loses its lease meanwhile and starts its clock anew.
            "--node-monitor-grace-period=300s",
        ]

    def scheduler(self) -> list[str]:
        """The scheduler."""
        return [
            str(self.bin / "kube-scheduler"),
            *self._client_flags("kube-scheduler"),
            f"--secure-port={self.ports.scheduler}",
            "--leader-elect=false",
            "--profiling=false",
        ]

    def _client_flags(self, name: str) -> list[str]:
        config = self.state / "kubeconfig" / f"{name}.yaml"
        pki = self.state / "pki"
        return [
            f"--kubeconfig={config}",
            f"--authentication-kubeconfig={config}",
            f"--authorization-kubeconfig={config}",
            "--bind-address=127.0.0.1",
            f"--tls-cert-file={pki / name}.crt",
            f"--tls-private-key-file={pki / name}.key",
            f"--client-ca-file={pki / 'ca.crt'}",
        ]
