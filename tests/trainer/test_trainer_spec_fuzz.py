"""Whatever a spec says: a plan and rows, or a refusal by name. Never anything else, and never a word of the Secret."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from planted import HOUR, START, market, write_bars, write_samples, write_trades

from walkforward_core.api.retrain import RetrainSpec
from walkforward_core.names import GROUP, VERSION
from walkforward_trainer.data.sources import Access
from walkforward_trainer.errors import BadConfiguration, BadData, Reason, RunError, Transient
from walkforward_trainer.plan import make_plan
from walkforward_trainer.prepare import prepare
from walkforward_trainer.specfile import load, timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

PASSWORD: Final = "hunter2-and-a-half"
ENV: Final = {"BARS_DSN": f"postgresql://walk:{PASSWORD}@127.0.0.1:1/bars", "ODD_DSN": f"not an address {PASSWORD}"}
BOUNDED: Final = settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
ROWS: Final = 700
NOW: Final = START + ROWS * HOUR
RECIPES: Final = ("ohlcv", "ohlcv-direction", "multi-timeframe", "risk-filter", "daily-ensemble", "drift-robust")


@dataclass(frozen=True, slots=True)
class Place:
    """A folder with a small file of each kind."""

    folder: Path

    def data(self, recipe: str) -> dict[str, Any]:
        """Return ``spec.data`` as it should be for ``recipe``."""
        kind = {"risk-filter": "trades.jsonl", "drift-robust": "samples.log"}.get(recipe, "bars.csv")
        form = "csv" if kind == "bars.csv" else "jsonl"
        frame = "1m" if recipe == "drift-robust" else "1h"
        return {"uri": (self.folder / kind).as_uri(), "format": form, "symbols": ["AAPL"], "timeframe": frame, "windowBars": 400}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("fuzz")
    write_bars(folder / "bars.csv", market(1, ROWS).bars)
    write_trades(folder / "trades.jsonl", 1, 60)
    write_samples(folder / "samples.log", 1, 2_000)
    return Place(folder)


def resource(spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": "ModelRetrain", "metadata": {"name": "fx"}, "spec": spec}


def asked(place: Place, document: bytes) -> RunError | None:
    """Go as far as there are rows; return the refusal, if that is what it comes to."""
    path = place.folder / "retrain"
    path.write_bytes(document)
    refusal = None
    try:
        run = load(path, now_ms=NOW)
        plan = make_plan(run)
        prepare(run, plan, Access(allow_file=True, env=ENV), now_ms=NOW)
    except (BadConfiguration, BadData, Transient) as error:
        refusal = error
    assert refusal is None or len(str(refusal)) > 20
    assert PASSWORD not in str(refusal)
    return refusal


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Return values that a field of type ``kind`` (of ``msgspec.inspect``) may have, its limits among them."""
    return VALUES[type(kind).__name__](kind)


def structs(kind: Any) -> st.SearchStrategy[Any]:
    wanted = {field.encode_name: values(field.type) for field in kind.fields if field.required}
    return st.fixed_dictionaries(wanted, optional={field.encode_name: values(field.type) for field in kind.fields if not field.required})


def texts(kind: Any) -> st.SearchStrategy[str]:
    low, high = kind.min_length or 0, kind.max_length or 9_999
    if kind.pattern is None:
        return st.text(min_size=low, max_size=min(high, 20))
    return st.from_regex(kind.pattern, fullmatch=True).filter(lambda text: low <= len(text) <= high)


def integers(kind: Any) -> st.SearchStrategy[int]:
    return st.one_of(st.sampled_from([kind.ge, kind.le]), st.integers(kind.ge, min(kind.le, kind.ge + 600)))


def floats(kind: Any) -> st.SearchStrategy[float]:
    low = next((bound for bound in (kind.ge, kind.gt) if bound is not None), None)
    high = next((bound for bound in (kind.le, kind.lt) if bound is not None), None)
    return st.floats(low, high, exclude_min=kind.gt is not None, exclude_max=kind.lt is not None, allow_nan=False, allow_infinity=False)


TEXTS: Final = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["", " ", "\0", "\ud800", "a\nb", "../..", "~", "{}", "%s%n", "'; DROP TABLE bars; --", "null", "1e999", "Ω" * 2_000]),
)
NUMBERS: Final = st.one_of(
    st.sampled_from([0, -1, 2**63, -(2**63) - 1, 2**70, 1e308, -0.0, 5e-324, float("nan"), float("inf")]), st.floats(), st.integers()
)
JUNK: Final = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)
VALUES: Final[Mapping[str, Callable[[Any], st.SearchStrategy[Any]]]] = {
    "Metadata": lambda kind: values(kind.type),
    "UnionType": lambda kind: st.one_of([values(one) for one in kind.types]),
    "StructType": structs,
    "VarTupleType": lambda kind: st.lists(values(kind.item_type), min_size=kind.min_length or 0, max_size=min(kind.max_length or 3, 3)),
    "DictType": lambda kind: st.dictionaries(values(kind.key_type), values(kind.value_type), max_size=2),
    "EnumType": lambda kind: st.sampled_from([one.value for one in kind.cls]),
    "StrType": texts,
    "IntType": integers,
    "FloatType": floats,
    "BoolType": lambda _: st.booleans(),
    "NoneType": lambda _: st.none(),
    "AnyType": lambda _: JUNK,
}


def fields(kind: Any, at: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], st.SearchStrategy[Any]]]:
    """Return every field of the schema, with the values that it may have."""
    while isinstance(kind, msgspec.inspect.Metadata):
        kind = kind.type
    if isinstance(kind, msgspec.inspect.UnionType):
        kind = next((one for one in kind.types if isinstance(one, msgspec.inspect.StructType)), kind)
    if not isinstance(kind, msgspec.inspect.StructType):
        return [(at, values(kind))]
    return [found for field in kind.fields for found in fields(field.type, (*at, field.encode_name))]


FIELDS: Final = fields(msgspec.inspect.type_info(RetrainSpec))
ELSEWHERE: Final = (("data", "uri"), ("artifacts", "uri"), ("recipe",))


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every part of ``value``."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(path for key, part in inner for path in paths(part, (*at, key)))]


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """Return ``value`` with ``new`` at ``path``."""
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = put(copy[path[0]], path[1:], new)
    return copy


def usual(place: Place, recipe: str) -> dict[str, Any]:
    """Return a spec that plans and finds rows."""
    data = place.data(recipe) | {
        "asOf": timestamp(NOW),
        "quality": {"minRows": 20 if recipe == "risk-filter" else 100, "maxStaleness": "30d"},
    }
    return {
        "recipe": recipe,
        "data": data,
        "overrides": {
            "target": {} if recipe == "risk-filter" else {"horizonBars": 3},
            "model": {"trees": 10},
            "decision": {"threshold": 0.6},
            "features": [],
        },
        "validation": {"folds": 5, "embargo": "1h"},
        "costs": {"feeBps": 1, "slippage": {"bps": 1, "multiplier": 2}},
        "eligibility": {"minBars": 10, "minAge": "1d"},
        "gates": {"auc": {"min": 0.6}},
        "schedules": [{"cron": "0 1 * * *"}],
        "artifacts": {"uri": (place.folder / "models").as_uri()},
        "job": {"resources": {"limits": {"cpu": "1"}}, "labels": {}},
    }


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_is_changed_here_is_right_before(place: Place, recipe: str) -> None:
    assert asked(place, json.dumps(resource(usual(place, recipe))).encode()) is None


@given(recipe=st.sampled_from(RECIPES), data=st.data())
@BOUNDED
def test_every_value_that_the_schema_allows(place: Place, recipe: str, data: st.DataObject) -> None:
    """Some fields within their types and limits, whatever that means together with the others."""
    spec = usual(place, recipe)
    for path, kind in data.draw(
        st.lists(st.sampled_from([field for field in FIELDS if field[0] not in ELSEWHERE]), min_size=1, max_size=4)
    ):
        inside = spec
        for part in path[:-1]:
            inside[part] = inside.get(part) or {}
            inside = inside[part]
        inside[path[-1]] = data.draw(kind)
    for other in (*spec["data"].get("joins", ()), *filter(None, [spec["data"].get("trades")])):
        # addresses elsewhere are no matter of a spec
        other["uri"] = (place.folder / "trades.jsonl").as_uri()
    asked(place, json.dumps(resource(spec)).encode())


@given(recipe=st.sampled_from(RECIPES), data=st.data(), written=st.sampled_from(["json", "yaml"]))
@BOUNDED
def test_one_field_that_is_anything(place: Place, recipe: str, data: st.DataObject, written: str) -> None:
    """Another type, a number out of all bounds, odd text, a mapping for a number; anywhere in the document."""
    document = resource(usual(place, recipe))
    where = data.draw(st.sampled_from([path for path in paths(document) if path[-1:] != ("uri",)]))
    document = put(document, where, data.draw(JUNK))
    text = json.dumps(document) if written == "json" else yaml.safe_dump(document, allow_unicode=False)
    asked(place, text.encode("utf-8", "surrogatepass"))


@given(recipe=st.sampled_from(RECIPES), name=TEXTS, value=JUNK, data=st.data())
@BOUNDED
def test_a_field_that_there_is_not(place: Place, recipe: str, name: str, value: Any, data: st.DataObject) -> None:
    spec = usual(place, recipe)
    where = data.draw(st.sampled_from([path for path in paths(spec) if path[-1:] != ("labels",) and path[-1:] != ("limits",)]))
    inside: Any = spec
    for part in where:
        inside = inside[part]
    if not isinstance(inside, dict):
        return
    error = asked(place, json.dumps(resource(put(spec, where, {**inside, f"x{name}": value}))).encode())
    assert isinstance(error, BadConfiguration)


@given(text=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))))
@BOUNDED
def test_any_bytes(place: Place, text: bytes) -> None:
    assert isinstance(asked(place, text), BadConfiguration)


GOOD: Final = """
apiVersion: walkforward.dev/v1alpha1
kind: ModelRetrain
metadata: {name: fx}
spec:
  data: {uri: "s3://bars/x.csv", format: csv, symbols: [EURUSD], windowBars: 2000, asOf: 2017-08-25T01:00:00Z}
  artifacts: {uri: "s3://models/fx"}
"""
ODD: Final = {
    "a day that there is none of": (GOOD.replace("2017-08-25T01:00:00Z", "2017-02-30"), "day is out of range"),
    "a day without a time": (GOOD.replace("2017-08-25T01:00:00Z", "2017-08-25"), r"spec\.data\.asOf: .* is a day without a time"),
    "before the first year": (GOOD.replace("2017-08-25T01:00:00Z", "0001-01-01T00:00:00+10:00"), r"spec\.data\.asOf: .*year 0"),
    "far ahead": (GOOD.replace("2017-08-25T01:00:00Z", "9999-12-31T23:59:59Z"), r"asOf '9999-12-31T23:59:59Z': the year lies outside"),
    "a number that is none": (GOOD.replace("2000", "0x_"), "a number that there is none of"),
    "a number without end": (GOOD.replace("2000", "1" * 5_000), "a number that there is none of"),
    "no finite number": (GOOD + "  costs: {feeBps: .nan}", r"spec\.costs\.feeBps: nan is no finite number"),
    "infinity": (GOOD + "  overrides: {target: {threshold: .inf}}", r"spec\.overrides\.target\.threshold: inf is no finite"),
    "metadata that is text": (GOOD.replace("{name: fx}", "fx"), "metadata: Expected `object`"),
    "a way up": (GOOD.replace("{name: fx}", "{name: ../../other}"), r"metadata: .* at `\$\.name`"),
    "half a character": (GOOD.replace("EURUSD", '"\\uD800"'), r"spec\.data\.symbols\[0\]: .* no text"),
    "a zero byte": (GOOD.replace("bars/x", "bars/\\0"), r"spec\.data\.uri: .* no text"),
    "bytes": (GOOD.replace("EURUSD", "!!binary aGk="), r"spec\.data\.symbols\[0\]: b'hi' is bytes of YAML"),
    "a set": (GOOD.replace("[EURUSD]", "!!set {a, b}"), r"spec\.data\.symbols: .* is set of YAML"),
    "code": (GOOD.replace("EURUSD", '!!python/object/apply:os.system ["true"]'), "not YAML: could not determine a constructor"),
    "itself": (GOOD.replace("spec:", "spec: &a\n  overrides: *a"), "nested more than 100 deep"),
    "YAML without end": (GOOD + "  x: " + "[" * 3_000, "nested without end"),
    "JSON without end": ('{"kind": ' + "[" * 100_000, "must be one JSON object"),
    "a mapping for a list": (GOOD.replace("[EURUSD]", "{EURUSD: 1}"), "Expected `array`, got `object`"),
    "nothing": ("", "0 ModelRetrain documents"),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_documents_are_refused_by_field(place: Place, name: str) -> None:
    text, words = ODD[name]
    error = asked(place, text.encode())
    assert isinstance(error, BadConfiguration)
    assert error.reason is Reason.SPEC_INVALID
    assert re.search(words, str(error), re.DOTALL), error


@pytest.mark.parametrize(("variable", "kind"), [("BARS_DSN", Transient), ("ODD_DSN", BadConfiguration), ("NO_DSN", BadConfiguration)])
def test_what_the_secret_says_is_in_no_message(place: Place, variable: str, kind: type[RunError]) -> None:
    spec = usual(place, "ohlcv")
    spec["data"] |= {"uri": f"secret://{variable}", "format": "postgres", "query": "SELECT * FROM bars"}
    error = asked(place, json.dumps(resource(spec)).encode())
    assert isinstance(error, kind)
    assert variable in str(error)
