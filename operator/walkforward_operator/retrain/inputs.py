"""What a run is made of beside its spec, read when it begins and not before: shared overrides, and the bundles that are in use.

A watch on all ConfigMaps of a namespace, for one that a run may name one day, would cost more than asking for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from walkforward_core.api.overrides import OverridesError, parse, text_of
from walkforward_core.names import routing_name
from walkforward_core.objectstore import within
from walkforward_operator.cluster.errors import ClusterError, NotFound
from walkforward_operator.cluster.kinds import CONFIG_MAP, RETRAIN, ROLLOUT
from walkforward_operator.retrain.allowed import Problem
from walkforward_operator.retrain.model import Inputs
from walkforward_operator.retrain.reasons import RetrainReason
from walkforward_operator.routing.document import read_document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from walkforward_core.api.retrain import RetrainSpec
    from walkforward_operator.cluster.protocol import Object, Reader
    from walkforward_operator.retrain.model import Retrain
    from walkforward_operator.retrain.status import RetrainStatus

__all__ = ["Neighbours", "inputs_of"]

MOST: Final = 500
"""Bundles in use below one prefix that a run is told of."""


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The namespaces that this operator looks after, the ConfigMaps that their watches brought, and whether these are complete."""

    namespaces: tuple[str, ...]
    config_maps: Callable[[], Iterable[Object]]
    complete: Callable[[], bool]


async def inputs_of(cluster: Reader, neighbours: Neighbours, retrain: Retrain, status: RetrainStatus) -> Inputs:
    """Return what a run that begins now is made of beside its spec.

    Raises
    ------
    ClusterError
        The API server does not answer for the retrain's own namespace: try again.
    """
    spec = retrain.spec
    if spec is None:
        return Inputs()
    shared = await _shared(cluster, retrain.namespace, spec)
    if spec.artifacts.retention is None:
        return Inputs(shared=shared)
    try:
        named = await _in_use(cluster, neighbours)
    except _Incomplete as error:
        return Inputs(shared=shared, in_use=None, unknown=str(error))
    if status.latest_bundle is not None:  # whoever follows takes it up
        named.add(status.latest_bundle.uri)
    folders = tuple(sorted({f"{uri.rstrip('/')}/" for uri in named if within(uri, [spec.artifacts.uri])}))
    if len(folders) > MOST:
        return Inputs(shared=shared, in_use=None, unknown=f"{len(folders)} bundles are in use, more than {MOST}")
    return Inputs(shared=shared, in_use=folders)


async def _shared(cluster: Reader, namespace: str, spec: RetrainSpec) -> Mapping[str, Any] | Problem:
    reference = spec.overrides_from
    if reference is None:
        return {}
    try:
        found = await cluster.get(CONFIG_MAP, namespace, reference.config_map)
    except NotFound:
        missing = f"spec.overridesFrom names ConfigMap {reference.config_map!r}, which does not exist: create it, or correct the name"
        return Problem(RetrainReason.OVERRIDES_MISSING, missing)
    try:
        text = text_of(found, reference)
    except OverridesError as error:
        return Problem(RetrainReason.OVERRIDES_MISSING, str(error))
    try:
        return parse(text, f"ConfigMap {reference.config_map}, key {reference.key}")
    except OverridesError as error:
        return Problem(RetrainReason.OVERRIDES_INVALID, str(error))


class _Incomplete(Exception):  # noqa: N818 - says what is the case
    """What is in use is not known completely."""


async def _in_use(cluster: Reader, neighbours: Neighbours) -> set[str]:
    """Return every bundle that a rollout, a routing document or a retrain names, in all namespaces that this operator looks after.

    Rollouts are asked for: a walk may have begun a moment ago. A routing document outlives its rollout, and stable goes on serving. What a
    retrain has published last, whoever follows it takes up.
    """
    if not neighbours.complete():
        raise _Incomplete("the watches are not up")
    found: set[str] = set()
    for namespace in neighbours.namespaces:
        try:
            rollouts = await cluster.list(ROLLOUT, namespace)
            retrains = await cluster.list(RETRAIN, namespace)
        except ClusterError as error:
            raise _Incomplete(f"ModelRollouts and ModelRetrains of {namespace}: {error}") from error
        for body in retrains:
            found.update(_uris((body.get("status") or {}).get("latestBundle")))
        for body in rollouts:
            found.update(_uris([body.get("spec", {}).get("source"), body.get("status")]))
    for body in neighbours.config_maps():
        if body["metadata"]["name"].endswith(routing_name("")):
            document = read_document(body)
            if document.routing is None:
                raise _Incomplete(f"{body['metadata'].get('namespace', '')}: {document.error}")
            models = (document.routing.stable, document.routing.candidate, document.routing.previous)
            found.update(model.uri for model in models if model is not None)
    return found


def _uris(value: Any) -> Iterable[str]:
    """Yield every ``uri`` in JSON: the pinned bundle, the models on trial, live, kept and waiting, and the walk of a pending write."""
    if isinstance(value, dict):
        if isinstance(value.get("uri"), str):
            yield value["uri"]
        for member in value.values():
            yield from _uris(member)
    elif isinstance(value, list | tuple):
        for member in value:
            yield from _uris(member)
