"""The generator: what it makes of a model, and what it refuses to make anything of."""

from __future__ import annotations

import shutil
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest
import yaml
from msgspec import Meta

from walkforward_core.api.cel import Cel, duration_ms, rules
from walkforward_core.documents import Part
from walkforward_operator.schema.__main__ import files, main
from walkforward_operator.schema.crd import crd, crd_yaml
from walkforward_operator.schema.descriptions import SchemaError, field_descriptions
from walkforward_operator.schema.kinds import KINDS, Kind
from walkforward_operator.schema.openapi import Schema, openapi
from walkforward_operator.schema.reference import page

ROOT = Path(__file__).parents[2]


class Colour(StrEnum):
    RED = "Red"
    BLUE = "Blue"


class Inner(Part, frozen=True, kw_only=True):
    """Inside."""

    size: Annotated[int, Meta(gt=0, le=9)] = 3
    """How many."""


class Outer(Part, frozen=True, kw_only=True):
    """Outside."""

    first_name: Annotated[str, Meta(min_length=1, max_length=5, pattern="^[a-z]+$", extra_json_schema=rules(Cel("self != 'x'", "no x")))]
    """A name,
    over two lines."""
    colour: Colour = Colour.BLUE
    """One of two."""
    share: Annotated[float, Meta(gt=0.0, lt=1.0)] | None = None
    """Between."""
    inner: Inner = Inner()
    """What is inside."""
    many: Annotated[tuple[Inner, ...], Meta(max_length=2)] = ()
    """Several."""
    words: Annotated[dict[str, Annotated[str, Meta(max_length=4)]], Meta(max_length=3)] = {}
    """By name."""
    later: dict[str, Any] | None = None
    """Not yet."""
    yes: bool = False
    """Or no."""

    RULES: ClassVar = (Cel("!has(self.later)", "later: not yet", "'later: not yet ' + self.firstName"),)


def test_a_model_becomes_a_structural_schema() -> None:
    schema = openapi(Outer, strict=True)
    assert schema["required"] == ["firstName"]
    assert schema["x-kubernetes-validations"] == [
        {"rule": "!has(self.later)", "message": "later: not yet", "messageExpression": "'later: not yet ' + self.firstName"}
    ]
    fields = schema["properties"]
    assert fields["firstName"] == {
        "description": "A name, over two lines.",
        "type": "string",
        "minLength": 1,
        "maxLength": 5,
        "pattern": "^[a-z]+$",
        "x-kubernetes-validations": [{"rule": "self != 'x'", "message": "no x"}],
    }
    assert fields["colour"] == {"description": "One of two.", "type": "string", "enum": ["Red", "Blue"], "default": "Blue"}
    assert fields["share"]["minimum"] == 0
    assert fields["share"]["exclusiveMinimum"] is fields["share"]["exclusiveMaximum"] is True
    assert fields["inner"]["default"] == {"size": 3}
    assert fields["inner"]["properties"]["size"]["default"] == 3
    assert fields["many"]["maxItems"] == 2
    assert "default" not in fields["many"]
    assert fields["words"]["additionalProperties"] == {"type": "string", "maxLength": 4}
    assert fields["later"] == {"description": "Not yet.", "type": "object", "x-kubernetes-preserve-unknown-fields": True}
    assert fields["yes"]["default"] is False


def test_a_status_has_no_limit_that_could_refuse_its_write() -> None:
    schema = openapi(Outer, strict=False)
    assert "x-kubernetes-validations" not in schema
    assert schema["x-kubernetes-preserve-unknown-fields"] is schema["properties"]["inner"]["x-kubernetes-preserve-unknown-fields"] is True
    assert schema["properties"]["firstName"] == {"description": "A name, over two lines.", "type": "string"}
    assert "default" not in schema["properties"]["inner"]
    assert "maxItems" not in schema["properties"]["many"]


class Silent(Part, frozen=True, kw_only=True):
    """No word about its field."""

    size: int = 1


class Endless(Part, frozen=True, kw_only=True):
    """No end."""

    text: str = ""
    """Any length."""


class EndlessList(Part, frozen=True, kw_only=True):
    """No end."""

    many: tuple[int, ...] = ()
    """Any number."""


class EndlessMap(Part, frozen=True, kw_only=True):
    """No end."""

    words: dict[str, int] = {}
    """Any number."""


class Undecided(Part, frozen=True, kw_only=True):
    """Either."""

    size: int | str = 1
    """A number or a word."""


class Strange(Part, frozen=True, kw_only=True):
    """Bytes."""

    data: bytes = b""
    """Raw."""


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (Silent, "Silent.size: no description; write a docstring under the field"),
        (Endless, "Endless.text: a string without max_length"),
        (EndlessList, "EndlessList.many: a list without max_length"),
        (EndlessMap, "EndlessMap.words: a map without max_length"),
        (Undecided, "Undecided.size: a union of several types"),
        (Strange, "Strange.data: BytesType has no place in a CRD"),
    ],
)
def test_a_model_that_is_not_complete_is_refused(model: type[Part], said: str) -> None:
    with pytest.raises(SchemaError, match=said.replace(".", r"\.")):
        openapi(model, strict=True)


def test_inherited_fields_keep_their_description(tmp_path: Path) -> None:
    assert "kind" not in field_descriptions(Inner)
    conditions = crd(KINDS[0])["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]["conditions"]
    assert conditions["items"]["properties"]["type"]["description"].startswith("Ready, Reconciling, Stalled")


def test_generated_files_are_up_to_date() -> None:
    assert main(["--check", "--root", str(ROOT)]) == 0


def test_check_names_the_file_that_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in files():
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    touched = tmp_path / "crds" / KINDS[0].file
    touched.write_text(touched.read_text() + "# edited\n")
    assert main(["--check", "--root", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"crds/{KINDS[0].file} is out of date: run `python -m walkforward_operator.schema` and commit it\n"
    assert main(["--root", str(tmp_path)]) == 0
    assert main(["--check", "--root", str(tmp_path)]) == 0


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_the_crd_has_what_kubectl_needs(kind: Kind) -> None:
    made = yaml.safe_load(crd_yaml(kind))
    version = made["spec"]["versions"][0]
    assert made["metadata"]["name"] == f"{kind.plural}.walkforward.dev"
    assert made["spec"]["scope"] == "Namespaced"
    assert made["spec"]["names"]["categories"] == ["walkforward"]
    assert version["name"] == "v1alpha1"
    assert version["subresources"] == {"status": {}}
    assert version["schema"]["openAPIV3Schema"]["properties"]["status"]["default"] == {"observedGeneration": -1}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_columns_name_fields_that_exist(kind: Kind) -> None:
    root = crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for column in kind.columns:
        if column.path.startswith(".metadata") or "?(" in column.path:
            continue
        at: Schema = root
        for name in column.path.strip(".").split("."):
            at = at["properties"][name]
        assert at["type"] == ("integer" if column.type == "integer" else "string")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_the_page_has_every_field_and_rule(kind: Kind) -> None:
    text = page(kind)
    root = crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]

    def walk(schema: Schema) -> None:
        for name, field in schema.get("properties", {}).items():
            assert f"| `{name}` |" in text
            walk(field.get("items", field))
        for rule in schema.get("x-kubernetes-validations", ()):
            assert rule["message"] in text

    walk(root["properties"]["spec"])
    walk(root["properties"]["status"])


def test_a_duration_in_cel_reads_every_unit_once() -> None:
    expression = duration_ms("self")
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m([^s]|$)", 60_000), ("s", 1_000), ("ms", 1)):
        assert f"self.find('[0-9]+{unit}').find('[0-9]+')) * {size}" in expression
