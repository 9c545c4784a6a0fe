"""One CustomResourceDefinition per kind, as YAML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from walkforward_core import names
from walkforward_operator.schema.descriptions import summary
from walkforward_operator.schema.openapi import openapi

if TYPE_CHECKING:
    from walkforward_operator.schema.kinds import Column, Kind

__all__ = ["crd", "crd_yaml"]

HEADER = "# Made by `python -m walkforward_operator.schema` from the typed models in core/walkforward_core/api; do not edit.\n"


def crd(kind: Kind) -> dict[str, Any]:
    """Return the CustomResourceDefinition of ``kind``."""
    plural = f"{kind.plural}.{names.GROUP}"
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": plural, "labels": {"app.kubernetes.io/name": "walkforward", "app.kubernetes.io/component": "crd"}},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.singular,
                "shortNames": [kind.short_name],
                "categories": ["walkforward"],
            },
            "versions": [_version(kind)],
        },
    }


def crd_yaml(kind: Kind) -> str:
    """Return the CRD of ``kind`` as it stands in the repository, comment first."""
    return HEADER + yaml.dump(crd(kind), Dumper=_Dumper, sort_keys=False, width=130, allow_unicode=True)


def _version(kind: Kind) -> dict[str, Any]:
    return {
        "name": names.VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [_column(column) for column in kind.columns],
        **({"selectableFields": [{"jsonPath": path} for path in kind.selectable]} if kind.selectable else {}),
        "schema": {"openAPIV3Schema": _root(kind)},
    }


def _root(kind: Kind) -> dict[str, Any]:
    spec = {"description": summary(kind.spec), **openapi(kind.spec, strict=True)}
    return {
        "description": summary(kind.spec),
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"description": f"{names.GROUP}/{names.VERSION}.", "type": "string"},
            "kind": {"description": f"{kind.kind}.", "type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": _status(kind),
        },
        "x-kubernetes-validations": [rule.schema() for rule in kind.rules],
    }


def _status(kind: Kind) -> dict[str, Any]:
    # until the operator has looked, kstatus must see "in progress", not "current": no generation is -1
    default = {"observedGeneration": -1}
    return {"description": summary(kind.status), **openapi(kind.status, strict=False), "default": default}


def _column(column: Column) -> dict[str, Any]:
    shown = {"name": column.name, "type": column.type, "jsonPath": column.path, "description": column.description}
    return {**shown, "priority": 1} if column.wide else shown


class _Dumper(yaml.SafeDumper):
    """Lists are indented and repeated values are written out: people read and diff these files."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - the signature is pyyaml's
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the signature is pyyaml's
        return True
