"""MLflow: a run's parameters, metrics and reports and, of a published one, its model as a registered version.

MLflow is a mirror for people. The address of its server, and what it asks for (``MLFLOW_TRACKING_USERNAME`` and ``…_PASSWORD``, or
``MLFLOW_TRACKING_TOKEN``), are in the environment, never in the spec. A run waits for it for a minute at most and never fails by it.
"""

from __future__ import annotations

import os
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from walkforward_core.bundle import MANIFEST, MODEL, REPORT_HTML, REPORT_JSON
from walkforward_core.errors import NotFound
from walkforward_core.runs import RunVerdict
from walkforward_trainer.result import run_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from walkforward_core.objectstore import ObjectStore
    from walkforward_core.runs import ResultDocument, RunDocument

__all__ = ["ADDRESS", "RUN_TAG", "VERSION_TAG", "parameters", "track"]

ADDRESS: Final = "MLFLOW_TRACKING_URI"
PATIENCE_S: Final = 60.0
QUIET: Final = {
    # nothing is sent anywhere but to the server that was named
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # standard output is for the result
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""Settings of the client, unless the environment has others."""
RUN_TAG: Final = "walkforward.run"
VERSION_TAG: Final = "walkforward.version"
PRIVATE: Final = ("job", "tracking", "schedules", "triggers", "historyLimit", "suspend")
"""Parts of the spec that say nothing about the model."""
PARAMETERS: Final = 100
"""Parameters that MLflow takes at once."""
LONGEST: Final = 500


@dataclass(frozen=True, slots=True)
class Record:
    """What is logged: ``files`` by their path among the run's artifacts."""

    tags: dict[str, str]
    parameters: dict[str, str]
    metrics: dict[str, float]
    files: dict[str, bytes]


def track(store: ObjectStore, run: RunDocument, result: ResultDocument, env: Mapping[str, str], *, patience_s: float = PATIENCE_S) -> str:
    """Log the run; return a sentence where that did not work, else nothing.

    Raises
    ------
    StoreError
        The bundle's files could not be read.
    """
    wanted = run.spec.tracking
    if wanted is None:
        return ""
    address = env.get(ADDRESS, "")
    if not address.startswith(("http://", "https://")):
        said = f"it is {address!r}" if address else "it is not set"
        return f"not logged to MLflow: {ADDRESS} has to be the http(s) address of a server, {said}; put it into the Secret of artifacts"
    record = _record(store, run, result)
    return _bounded(lambda: _log(address, wanted.experiment, wanted.registered_model, record), patience_s)


def parameters(run: RunDocument) -> dict[str, str]:
    """Return what the model was asked to be, as dotted names; what the spec leaves open is the recipe's and not listed."""
    spec = {name: part for name, part in msgspec.to_builtins(run.spec).items() if name not in PRIVATE}
    return {name: value[:LONGEST] for name, value in _flat(spec, "") if value} | {"asOf": run.as_of, "mode": str(run.mode)}


def _record(store: ObjectStore, run: RunDocument, result: ResultDocument) -> Record:
    published = result.verdict is RunVerdict.PUBLISHED
    folder = result.uri if published else run_folder(run.spec.artifacts.uri, run.run)
    files = {name: data for name in (REPORT_HTML, REPORT_JSON) if (data := _read(store, folder + name)) is not None}
    if published:
        files |= {f"model/{name}": store.get(folder + name) for name in (MODEL, MANIFEST)}
    tags = {
        RUN_TAG: run.run,
        "walkforward.retrain": f"{run.retrain.namespace}/{run.retrain.name}",
        "walkforward.verdict": str(result.verdict),
        "walkforward.reason": result.reason,
        "mlflow.runName": run.run,
        "mlflow.note.content": result.message,
    }
    if published:
        tags |= {VERSION_TAG: result.version, "walkforward.digest": result.digest, "walkforward.uri": result.uri}
    return Record(tags, parameters(run), dict(result.metrics), files)


def _read(store: ObjectStore, uri: str) -> bytes | None:
    try:
        return store.get(uri)
    except NotFound:  # a run that failed has no report
        return None


def _log(address: str, experiment: str, registered: str | None, record: Record) -> None:
    """Write the record; a second attempt of the same run finds the first one's and completes it."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient  # noqa: PLC0415 - after the switches, and only where it is asked for
    from mlflow.entities import Metric, Param, RunTag  # noqa: PLC0415 - see above

    client: Any = MlflowClient(tracking_uri=address, registry_uri=address)
    found = client.get_experiment_by_name(experiment)
    experiment_id = client.create_experiment(experiment) if found is None else found.experiment_id
    known = client.search_runs([experiment_id], filter_string=f"tags.`{RUN_TAG}` = '{record.tags[RUN_TAG]}'", max_results=1)
    run = known[0] if known else client.create_run(experiment_id, tags={RUN_TAG: record.tags[RUN_TAG]})
    run_id, at_ms = run.info.run_id, run.info.start_time
    names = list(record.parameters)
    for first in range(0, len(names), PARAMETERS):
        client.log_batch(run_id, params=[Param(name, record.parameters[name]) for name in names[first : first + PARAMETERS]])
    metrics = [Metric(name, value, at_ms, 0) for name, value in record.metrics.items()]
    client.log_batch(run_id, metrics=metrics, tags=[RunTag(name, value) for name, value in record.tags.items()])
    _upload(client, run_id, record.files)
    if registered and VERSION_TAG in record.tags:
        _register(client, registered, run, record.tags)
    client.set_terminated(run_id, "FAILED" if record.tags["walkforward.verdict"] == RunVerdict.FAILED else "FINISHED")


def _upload(client: Any, run_id: str, files: Mapping[str, bytes]) -> None:
    with tempfile.TemporaryDirectory(prefix="walkforward-mlflow-") as folder:
        for name, data in files.items():
            path = Path(folder, name)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
        if files:
            client.log_artifacts(run_id, folder)


def _register(client: Any, name: str, run: Any, tags: Mapping[str, str]) -> None:
    """Make a version of the registered model for this bundle, unless it has one."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 - see _log

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    wanted = {tag: value for tag, value in tags.items() if tag.startswith("walkforward.")}
    versions = client.search_model_versions(f"name = '{name}'")
    if not any(version.tags.get(VERSION_TAG) == wanted[VERSION_TAG] for version in versions):
        source = f"{run.info.artifact_uri}/model"
        client.create_model_version(name, source, run_id=run.info.run_id, tags=wanted, await_creation_for=0)


def _bounded(log: Callable[[], None], patience_s: float) -> str:
    """Run ``log`` for ``patience_s`` at most; what it raises, and that it did not end, become a sentence."""
    errors: list[Exception] = []

    def attempt() -> None:
        try:
            log()
        except Exception as error:  # noqa: BLE001 - whatever it is, the run has ended well without it
            errors.append(error)

    # a daemon, since nobody waits for it when the process ends
    worker = threading.Thread(target=attempt, name="mlflow", daemon=True)
    worker.start()
    worker.join(patience_s)
    if worker.is_alive():
        return f"not logged to MLflow: {ADDRESS} did not answer within {patience_s:g} s; look at the server and the network"
    if errors:
        text = (str(errors[0]).splitlines() or [""])[0][:300]
        return f"not logged to MLflow: {type(errors[0]).__name__}: {text}; look at {ADDRESS} and the server's log"
    return ""


def _flat(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield the leaves of nested mappings by their dotted names; lists are one leaf."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    elif value is not None:
        yield path, value if isinstance(value, str) else msgspec.json.encode(value).decode()
