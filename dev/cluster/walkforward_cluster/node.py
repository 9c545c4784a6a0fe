"""Configuration files of the node: containerd, CNI, kubelet, kube-proxy."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from pathlib import Path

    from walkforward_cluster.addresses import Addresses

PAUSE_IMAGE = "docker.io/walkforward/pause:dev"
_MAX_PODS = 200


@dataclass(frozen=True, slots=True)
class Node:
    """One node; everything that it writes is below `state`."""

    name: str
    state: Path
    addresses: Addresses
    cni_bin: Path

    @property
    def socket(self) -> Path:
        """The socket of this node's containerd."""
        return self.state / "containerd.sock"

    def write(self) -> None:
        """Write all files."""
        config = self.state / "config"
        (config / "cni").mkdir(parents=True, exist_ok=True)
        (config / "containerd.toml").write_text(self.containerd())
        (config / "cni" / "10-walkforward.conflist").write_text(json.dumps(self.cni(), indent=1))
        (config / "kubelet.yaml").write_text(yaml.safe_dump(self.kubelet()))
        (config / "kube-proxy.yaml").write_text(yaml.safe_dump(self.kube_proxy()))
        (config / "resolv.conf").write_text("")  # pods with dnsPolicy Default get no resolver: nothing outside is reachable

    def containerd(self) -> str:
        """A containerd with root, state and socket of its own."""
        state = self.state
        return f"""version = 2
root = "{state}/containerd/root"
state = "{state}/containerd/state"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing",
]
[grpc]
  address = "{self.socket}"
[debug]
  level = "warn"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  netns_mounts_under_state_dir = true
  # inside a container or a small VM nobody may lower a score, and runc would fail
  restrict_oom_score_adj = true
  disable_apparmor = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{self.cni_bin}"
    conf_dir = "{state}/config/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
        Root = "{state}/runc"
"""

    def cni(self) -> dict[str, object]:
        """A routed veth per pod: replies between pods pass the node's conntrack without the bridge netfilter module."""
        ipam = {
            "type": "host-local",
            "dataDir": str(self.state / "ipam"),
            "ranges": [[{"subnet": str(self.addresses.pods)}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        }
        plugins = [
            {"type": "ptp", "ipMasq": False, "ipam": ipam},
            {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
        ]
        return {"cniVersion": "0.4.0", "name": self.name, "plugins": plugins}

    def kubelet(self) -> dict[str, object]:
        """A kubelet that enforces pods' limits, reserves nothing, evicts nobody and removes no image."""
        pki = self.state / "pki"
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": self.addresses.node,
            "port": 10250,
            "healthzBindAddress": "127.0.0.1",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(pki / "ca.crt")},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(pki / "kubelet.crt"),
            "tlsPrivateKeyFile": str(pki / "kubelet.key"),
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self.name}",
            "enforceNodeAllocatable": [],
            "failSwapOn": False,
            "failCgroupV1": False,
            "clusterDNS": [self.addresses.dns],
            "clusterDomain": "cluster.local",
            "resolvConf": str(self.state / "config" / "resolv.conf"),
            "containerRuntimeEndpoint": f"unix://{self.socket}",
            "podLogsDir": str(self.state / "pod-logs"),
            "volumePluginDir": str(self.state / "volume-plugins"),
            "maxPods": _MAX_PODS,
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "imageMaximumGCAge": "0s",
            "evictionHard": {
                "memory.available": "50Mi",
                "nodefs.available": "0.1%",
                "nodefs.inodesFree": "0.1%",
                "imagefs.available": "0.1%",
            },
            "registerNode": True,
            "serializeImagePulls": False,
            "protectKernelDefaults": False,
            "logging": {"verbosity": 1},
        }

    def kube_proxy(self) -> dict[str, object]:
        """Services by nftables, conntrack left as the kernel has it."""
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "hostnameOverride": self.name,
            "bindAddress": self.addresses.node,
            "healthzBindAddress": "127.0.0.1:10256",
            "metricsBindAddress": "127.0.0.1:10249",
            "clientConnection": {"kubeconfig": str(self.state / "kubeconfig" / "kube-proxy.yaml")},
            "conntrack": {"maxPerCore": 0},
            "nftables": {"minSyncPeriod": "100ms"},
        }

    def kubelet_command(self, binary: Path) -> list[str]:
        """The kubelet's command line."""
        return [
            str(binary),
            f"--config={self.state / 'config' / 'kubelet.yaml'}",
            f"--kubeconfig={self.state / 'kubeconfig' / 'kubelet.yaml'}",
            f"--root-dir={self.state / 'kubelet'}",
            f"--cert-dir={self.state / 'kubelet' / 'pki'}",
            f"--hostname-override={self.name}",
            f"--node-ip={self.addresses.node}",
            "--node-labels=walkforward.dev/node=local",
        ]
