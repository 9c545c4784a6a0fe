"""Every reason of the trainer: on its page under the code that it ends with, and in the retrain's conditions with its message."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from retrains import INSTALLATION, NOW, Store, pod, result, retrain, spec, terminated

from walkforward_core.runs import RunVerdict, Trigger, TriggerKind
from walkforward_operator.retrain.gather import gather
from walkforward_operator.retrain.job import run_document
from walkforward_operator.retrain.model import JobView, Observation
from walkforward_operator.retrain.progress import progress_of
from walkforward_operator.retrain.reasons import RetrainReason
from walkforward_operator.retrain.report import present
from walkforward_operator.retrain.run import Occasion, begin, finish
from walkforward_operator.retrain.status import RetrainStatus
from walkforward_operator.retrain.views import pod_view
from walkforward_trainer.errors import BadConfiguration, BadData, Broken, Reason, Transient
from walkforward_trainer.result import termination_message

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parents[2]
CODES: Final = {kind.__name__: kind.code for kind in (BadData, BadConfiguration, Transient, Broken)}
SHOWN: Final = {65: RetrainReason.BAD_DATA, 70: RetrainReason.TRAINER_BUG, 75: RetrainReason.TRANSIENT, 78: RetrainReason.BAD_CONFIGURATION}
ELSEWHERE: Final = {Reason.INTERNAL_ERROR: 70, Reason.PLUGIN_BROKEN: 78}
"""Reasons that ``pipeline`` gives to errors which are no refusals of its own."""


def on_the_page() -> dict[str, int]:
    """Return each reason that the page lists, with the exit code that it stands under; 0 for those of no error."""
    page = (ROOT / "docs" / "reference" / "trainer.md").read_text(encoding="utf-8")
    listed = re.search(r"^Reasons: (.*?)\n\n", page, re.DOTALL | re.MULTILINE)
    assert listed is not None
    groups = re.split(r" · (\d+): ", "0: " + listed[1])
    groups = ["0", groups[0].removeprefix("0: "), *groups[1:]]
    return {
        name: int(code)
        for code, text in zip(groups[::2], groups[1::2], strict=True)
        for name in re.findall(r"`([A-Z]\w+)`", re.sub(r"\([^)]*\)", "", text))
    }


def raised() -> Iterator[tuple[str, int, str]]:
    """Yield name, exit code and place of every refusal in the trainer's source; a notebook has no exit code."""
    for path in sorted(set((ROOT / "trainer").rglob("*.py")) - set((ROOT / "trainer").rglob("notebook.py"))):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CODES and node.args:
                first = node.args[0]
                if isinstance(first, ast.Attribute) and isinstance(first.value, ast.Name) and first.value.id == "Reason":
                    yield Reason[first.attr].value, CODES[node.func.id], f"{path.name}:{node.lineno}"


def test_every_reason_is_on_the_page_under_its_code() -> None:
    page, found = on_the_page(), {reason.value: code for reason, code in ELSEWHERE.items()}
    assert set(page) == {reason.value for reason in Reason}
    for name, code, place in raised():
        assert page[name] == code, f"{place}: {name} ends with {code}, the page says {page[name]}"
        found[name] = int(code)
    assert {name for name, code in page.items() if code} == set(found), "on the page, and never raised"


@pytest.mark.parametrize("name", [name for name, code in on_the_page().items() if code])
async def test_each_is_in_the_conditions_with_its_words(name: str) -> None:
    code = on_the_page()[name]
    found = await conditions(code, name, "data.uri s3://bars: no such thing; repair it")
    assert found["Ready"] == ("False", SHOWN[code], f"{name}: data.uri s3://bars: no such thing; repair it")
    assert found["Succeeded"][:2] == ("False", SHOWN[code])
    assert found["Succeeded"][2].endswith("; repair it")


@pytest.mark.parametrize("why", ["OOMKilled", "Error"])
async def test_a_kill_has_no_words_of_its_own(why: str) -> None:
    found = await conditions(137, why=why)
    assert found["Ready"][:2] == ("False", RetrainReason.OUT_OF_MEMORY)
    assert "raise spec.job.resources.limits.memory" in found["Ready"][2]


async def conditions(code: int, reason: str = "", message: str = "", *, why: str = "") -> dict[str, tuple[str, str, str]]:
    """Return what a retrain shows when its trainer has ended with ``code``, with ``reason`` and ``message`` or without a word."""
    wanted = spec()
    subject = retrain(wanted)
    run = begin(subject, wanted, Occasion(trigger=Trigger(id="1", kind=TriggerKind.MANUAL), as_of="2026-03-02T12:00:00Z"), None, NOW)
    left = result(run_document(subject, run, wanted), RunVerdict.FAILED, reason=reason, message=message)
    words = termination_message(left).decode() if reason else ""
    job = JobView(name=run.job, uid="j", owner_uid=subject.uid, failed=1, end="Failed", end_reason="PodFailurePolicy")
    body = pod(run.job, phase="Failed", terminated=terminated(code, words, reason=why))
    progress = progress_of(subject, run, job, (pod_view(body),), NOW)
    assert progress.ending is not None
    outcome = await gather(Store(), subject, run, progress.ending, NOW)
    status = finish(RetrainStatus(run=run), run, outcome, NOW)
    shown = present(subject, status, Observation(installation=INSTALLATION), None, None, NOW)
    return {one.type: (one.status, one.reason, one.message) for one in shown.conditions}
