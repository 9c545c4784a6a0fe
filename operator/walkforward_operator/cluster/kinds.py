"""The kinds of object that the operator touches, as a small table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from walkforward_core.names import GROUP, RETRAINS, ROLLOUTS, VERSION

__all__ = ["CONFIG_MAP", "DEPLOYMENT", "EVENT", "JOB", "KINDS", "LEASE", "NAMESPACE", "POD", "RETRAIN", "ROLLOUT", "Kind"]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind; ``group`` is empty for the core group."""

    name: str
    group: str
    version: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """The ``apiVersion`` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str, name: str = "", *, subresource: str = "") -> str:
        """Return the path of the collection, of the object ``name``, or of its ``subresource``."""
        parts = ["/apis", self.group, self.version] if self.group else ["/api", self.version]
        if self.namespaced:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/".join(parts)


RETRAIN: Final = Kind("ModelRetrain", GROUP, VERSION, RETRAINS)
ROLLOUT: Final = Kind("ModelRollout", GROUP, VERSION, ROLLOUTS)
POD: Final = Kind("Pod", "", "v1", "pods")
CONFIG_MAP: Final = Kind("ConfigMap", "", "v1", "configmaps")
NAMESPACE: Final = Kind("Namespace", "", "v1", "namespaces", namespaced=False)
DEPLOYMENT: Final = Kind("Deployment", "apps", "v1", "deployments")
JOB: Final = Kind("Job", "batch", "v1", "jobs")
LEASE: Final = Kind("Lease", "coordination.k8s.io", "v1", "leases")
EVENT: Final = Kind("Event", "events.k8s.io", "v1", "events")

KINDS: Final = (RETRAIN, ROLLOUT, POD, CONFIG_MAP, NAMESPACE, DEPLOYMENT, JOB, LEASE, EVENT)
