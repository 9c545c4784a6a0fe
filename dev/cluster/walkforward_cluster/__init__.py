"""The local cluster: a real Kubernetes on a bare machine, for the demo and for tests."""

from __future__ import annotations

from walkforward_cluster.api_only import ApiOnly
from walkforward_cluster.binaries import tool
from walkforward_cluster.cluster import Cluster, open_cluster
from walkforward_cluster.errors import ClusterError

__all__ = ["ApiOnly", "Cluster", "ClusterError", "open_cluster", "tool"]
