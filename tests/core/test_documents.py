"""Every document between the parts: golden bytes, refusals, round trips."""

from __future__ import annotations

import inspect
import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs
from wire_values import values

from walkforward_core import bundle, documents, pods, routing, runs, stats
from walkforward_core.bundle import Golden, Manifest, Reference
from walkforward_core.documents import Document, Part, decode, digest, encode
from walkforward_core.errors import DocumentError, WalkforwardError
from walkforward_core.evidence import Totals
from walkforward_core.pods import PodReport
from walkforward_core.routing import ModelRef, RoutingDocument
from walkforward_core.runs import ResultDocument, RunDocument, RunMode, RunVerdict, TriggerKind
from walkforward_core.stats import StatsDocument

DOCUMENTS = {
    kind
    for module in (bundle, documents, pods, routing, runs, stats)
    for _, kind in inspect.getmembers(module, inspect.isclass)
    if issubclass(kind, Document) and kind is not Document
} | {Totals}


# batch keys are integers, levels small
WIRE = {
    "Outcomes.level": st.integers(0, 40),
    "Outcomes.rows": st.dictionaries(
        st.integers(-(10**18), 10**18).map(str), values(tuple[float, float, float, float, float, float]), max_size=3
    ),
}


def test_every_document_has_a_name_of_its_own() -> None:
    names = [kind.NAME for kind in DOCUMENTS]
    assert len(set(names)) == len(names)
    assert {"routing", "stats", "pod", "bundle", "reference", "golden", "result", "evidence"} <= set(names)


ROUTING = (
    b'{"schema":"walkforward.dev/routing/v1","generation":17,"rollout":{"namespace":"prod","name":"fx","uid":"u"},'
    b'"stable":{"version":"v1","uri":"s3://models/fx/v1/","digest":"sha256:1","model":"sha256:2"},"candidate":null,"previous":null,'
    b'"weight":0,"shadow":false,"splitBy":"client","salt":"0000000000000000","withoutModel":null,"proveOn":null,"evidenceFrom":14,'
    b'"exposureNotAfter":null,"abort":null,"measure":{"plan":"p","outcomes":"Receipt","latencyMs":80.0,"sliceMs":10000,"baseMs":18000000,'
    b'"barMs":3600000,"roundTrip":0.0002}}'
)


def test_a_routing_document_has_exactly_these_bytes() -> None:
    document = RoutingDocument(
        generation=17,
        rollout=routing.RolloutRef(namespace="prod", name="fx", uid="u"),
        stable=ModelRef(version="v1", uri="s3://models/fx/v1/", digest="sha256:1", model="sha256:2"),
        evidence_from=14,
        measure=routing.Measure(
            plan="p",
            outcomes=routing.OutcomeSource.RECEIPT,
            latency_ms=80.0,
            slice_ms=10_000,
            base_ms=18_000_000,
            bar_ms=3_600_000,
            round_trip=0.0002,
        ),
    )
    assert document.to_bytes() == ROUTING
    assert RoutingDocument.parse(ROUTING) == document
    assert digest(ROUTING) == "sha256:f59303f94c7342173b70977d1790dd857b8f10cd83d1426e9b402905c523b940"


def test_a_result_fits_into_a_termination_message() -> None:
    result = ResultDocument(
        run="fx-1a2b3c4d",
        verdict=RunVerdict.REJECTED,
        reason="GatesFailed",
        message="x" * 500,
        uri="s3://models/fx/" + "v" * 40,
        version="20260101T000000Z-1a2b3c4d",
        digest="sha256:" + "0" * 64,
        model="sha256:" + "0" * 64,
        metrics={f"metric{number}": 0.123456789012 for number in range(8)},
        failed=tuple(f"gate{number}" for number in range(8)),
        more=True,
    )
    assert len(result.to_bytes()) <= runs.TERMINATION_LIMIT
    assert ResultDocument.parse(result.to_bytes()) == result


def test_exit_codes_are_those_that_the_job_policy_names() -> None:
    assert {code.name: int(code) for code in runs.ExitCode} == {
        "DONE": 0,
        "REJECTED": 1,
        "BAD_DATA": 65,
        "BUG": 70,
        "TRANSIENT": 75,
        "BAD_CONFIGURATION": 78,
    }


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"schema": "walkforward.dev/routing/v2"}, "routing/v2"),
        ({"schema": "walkforward.dev/stats/v1"}, "stats/v1"),
        ({"schema": "example.com/routing/v1"}, "example.com"),
        ({"generation": "17"}, r"\$\.generation"),
        ({"generation": 17.5}, r"\$\.generation"),
        ({"stable": {"version": "v1"}}, r"\$\.stable"),
        ({"splitBy": "moon"}, r"moon.*\$\.splitBy"),
        ({"weight": None}, r"\$\.weight"),
    ],
)
def test_other_schemas_and_types_are_refused_by_name(change: dict[str, Any], expected: str) -> None:
    data = json.dumps({**json.loads(ROUTING), **change}).encode()
    with pytest.raises(DocumentError, match=expected):
        RoutingDocument.parse(data, source="the mounted document")


@pytest.mark.parametrize("data", [b"", b"{", b"null", b"[]", b'"routing"', b"\xff\xfe", b"NaN", ROUTING[:-5]])
def test_bytes_that_are_no_document_are_refused_and_say_where_they_came_from(data: bytes) -> None:
    with pytest.raises(DocumentError, match=r"^the mounted document: "):
        RoutingDocument.parse(data, source="the mounted document")
    assert issubclass(DocumentError, WalkforwardError)


@pytest.mark.parametrize(
    "change",
    [{"level": 41}, {"level": -1}, {"rows": {"x": [1, 0, 0, 0, 0, 0]}}, {"rows": {"1.5": [1, 0, 0, 0, 0, 0]}}, {"rows": {"": [1] * 6}}],
)
def test_outcomes_that_cannot_be_merged_are_refused_at_the_border(change: dict[str, Any]) -> None:
    table = {"plan": "p", "stable": "s", "candidate": "c", "baseMs": 1, "level": 0, "rows": {"-5": [1, 0, 0, 0, 0, 0]}}
    document = {"schema": "walkforward.dev/stats/v1", "podUid": "p", "boot": "b", "seq": 1, "outcomes": [table]}
    assert StatsDocument.parse(json.dumps(document).encode()).outcomes[0].rows == {"-5": (1, 0, 0, 0, 0, 0)}
    table.update(change)
    with pytest.raises(DocumentError, match="of outcomes"):
        StatsDocument.parse(json.dumps(document).encode())


def test_required_fields_are_asked_for_and_unknown_ones_ignored() -> None:
    later = {**json.loads(ROUTING), "fieldOfALaterVersion": {"a": 1}}
    later["stable"]["another"] = 1
    assert RoutingDocument.parse(json.dumps(later).encode()) == RoutingDocument.parse(ROUTING)
    for name in ("generation", "rollout"):
        shorter = {key: value for key, value in json.loads(ROUTING).items() if key != name}
        with pytest.raises(DocumentError, match=name):
            RoutingDocument.parse(json.dumps(shorter).encode())


def test_documents_made_in_code_cannot_be_of_another_schema_or_change() -> None:
    with pytest.raises(ValueError, match="upgrade"):
        PodReport(pod_uid="p", boot="b", schema="walkforward.dev/pod/v9")
    report = PodReport(pod_uid="p", boot="b")
    assert report.schema == "walkforward.dev/pod/v1"
    with pytest.raises(AttributeError):
        report.boot = "c"  # type: ignore[misc]


def test_numbers_that_json_does_not_know_are_null_and_then_refused() -> None:
    # a reference with NaN must not come back as a number
    feature = bundle.FeatureReference(name="x", edges=(math.nan,) * 9, counts=(0,) * 10)
    with pytest.raises(DocumentError, match="edges"):
        decode(bundle.FeatureReference, encode(feature), source="reference.json")


@pytest.mark.parametrize(
    ("kind", "wire"),
    [
        (Manifest, {"asOf", "from"}),
        (StatsDocument, {"podUid"}),
        (Golden, {"X", "p", "position"}),
        (Reference, {"nullM"}),
    ],
)
def test_names_on_the_wire_are_those_of_the_contracts(kind: type[Document], wire: set[str]) -> None:
    def names(model: Any) -> set[str]:
        found = {field.encode_name for field in structs.fields(model)}
        for field in structs.fields(model):
            if inspect.isclass(field.type) and issubclass(field.type, Part):
                found |= names(field.type)
        return found

    assert wire <= names(kind)


def test_a_run_is_read_again_with_the_spec_that_a_person_wrote() -> None:
    run = {
        "schema": "walkforward.dev/run/v1",
        "run": "fx-1a2b3c4d",
        "retrain": {"namespace": "prod", "name": "fx", "uid": "u"},
        "trigger": {"id": "2026-01-01T13:00:00Z", "kind": "Schedule"},
        "asOf": "2026-01-01T13:00:00Z",
        "mode": "Smoke",
        "skipGates": [{"name": "auc", "reason": "a new venue has no history"}],
        "spec": {
            "recipe": "ohlcv",
            "data": {"uri": "s3://bars/eurusd.csv", "format": "csv", "symbols": ["EURUSD"], "timeframe": "1h", "window": "90d"},
            "costs": {"feeBps": 0.5},
            "gates": {"auc": {"min": 0.62}},
            "artifacts": {"uri": "s3://models/fx"},
        },
    }
    document = RunDocument.parse(json.dumps(run).encode())
    assert (document.mode, document.trigger.kind, document.skip_gates[0].name) == (RunMode.SMOKE, TriggerKind.SCHEDULE, "auc")
    assert document.spec.data.symbols == ("EURUSD",)
    assert RunDocument.parse(document.to_bytes()) == document


# a run holds a whole spec, whose bounds are tested with the CRDs
@pytest.mark.parametrize("kind", sorted(DOCUMENTS - {RunDocument}, key=lambda kind: kind.NAME), ids=lambda kind: kind.NAME)
def test_what_was_written_is_read_again(kind: type[Document]) -> None:
    @settings(max_examples=15, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def check(data: st.DataObject) -> None:
        document = data.draw(values(kind, WIRE))
        again = kind.parse(document.to_bytes())
        assert again == document
        assert again.to_bytes() == document.to_bytes()

    check()
