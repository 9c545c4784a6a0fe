"""The part of a pod's affinity that a Job may have: nodes, not other people's pods.

The value is passed on as it is, so the model keeps it as a dict; this is the schema that it must fit.
"""

from __future__ import annotations

from typing import Any, Final

from walkforward_core.api.cel import Cel, rules

__all__ = ["SCHEMA"]


def _object(description: str, properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "description": description, "properties": properties, **({"required": list(required)} if required else {})}


def _array(description: str, items: dict[str, Any], limit: int) -> dict[str, Any]:
    return {"type": "array", "description": description, "items": items, "maxItems": limit, "x-kubernetes-list-type": "atomic"}


def _text(description: str, limit: int, **more: Any) -> dict[str, Any]:
    return {"type": "string", "description": description, "maxLength": limit, **more}


_REQUIREMENT = _object(
    "One demand on a node.",
    {
        "key": _text("Label or field of the node.", 317),
        "operator": _text("How `values` are compared.", 12, enum=["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]),
        "values": _array("What it is compared with.", {"type": "string", "maxLength": 63}, 20),
    },
    "key",
    "operator",
)
_TERM = _object(
    "Demands that must all be met.",
    {
        "matchExpressions": _array("Demands on the node's labels.", _REQUIREMENT, 20),
        "matchFields": _array("Demands on the node's fields.", _REQUIREMENT, 20),
    },
)
_WEIGHT = {"type": "integer", "format": "int32", "minimum": 1, "maximum": 100, "description": "How much the preference counts."}
_PREFERRED = _object("A wish.", {"preference": _TERM, "weight": _WEIGHT}, "preference", "weight")
_NODE = _object(
    "As in a pod.",
    {
        "requiredDuringSchedulingIgnoredDuringExecution": _object(
            "What a node must have.", {"nodeSelectorTerms": _array("One of these must be met.", _TERM, 10)}, "nodeSelectorTerms"
        ),
        "preferredDuringSchedulingIgnoredDuringExecution": _array("What a node should have.", _PREFERRED, 10),
    },
)
_REFUSED = tuple(
    Cel(f"!has(self.{name})", f"job.affinity: {name} may not be set, only nodeAffinity; use nodeSelector, tolerations or nodeAffinity")
    for name in ("podAffinity", "podAntiAffinity")
)


def _refused(description: str) -> dict[str, Any]:
    return {"type": "object", "description": description, "x-kubernetes-preserve-unknown-fields": True}


SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "nodeAffinity": _NODE,
        "podAffinity": _refused("Refused, so that it is not dropped in silence."),
        "podAntiAffinity": _refused("Refused, so that it is not dropped in silence."),
    },
    **rules(*_REFUSED),
}
"""Structural schema of ``job.affinity``."""
