"""CEL rules: what the schema must refuse and a type alone cannot say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Cel", "duration_ms", "rules"]

# "80ms" must not be read as 80 minutes: a minute's m is not followed by s.
_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("m([^s]|$)", 60_000), ("s", 1_000), ("ms", 1))


@dataclass(frozen=True, slots=True)
class Cel:
    """One ``x-kubernetes-validations`` rule; ``message`` says what to write instead.

    ``expression`` is a CEL expression that makes the message, where it must show a value; ``message`` is then the fallback.
    """

    rule: str
    message: str
    expression: str = ""

    def schema(self) -> dict[str, str]:
        """Return the rule as it stands in an OpenAPI schema."""
        written = {"rule": self.rule, "message": self.message}
        return {**written, "messageExpression": self.expression} if self.expression else written


def rules(*wanted: Cel) -> dict[str, Any]:
    """Return ``wanted`` for ``Meta(extra_json_schema=…)``: rules of a single value, wherever its type is used."""
    return {"x-kubernetes-validations": [rule.schema() for rule in wanted]}


def duration_ms(text: str) -> str:
    """Return a CEL expression for the milliseconds of the duration that the CEL expression ``text`` yields.

    CEL's own ``duration()`` knows no days. A unit that is missing finds the empty string, which counts as 0.

    >>> duration_ms("self.a").count("self.a")
    5
    """
    return "(" + " + ".join(f"int('0' + {text}.find('[0-9]+{unit}').find('[0-9]+')) * {size}" for unit, size in _UNITS) + ")"
