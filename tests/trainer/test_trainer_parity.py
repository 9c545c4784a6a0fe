"""The run fails where the shipped bytes are not what was evaluated."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from datasets import KINDS, plan_of, rows_of
from onnx import numpy_helper

from walkforward_trainer.errors import Broken, Reason
from walkforward_trainer.fit import fit
from walkforward_trainer.golden import golden_rows
from walkforward_trainer.models.parts import BaseModel
from walkforward_trainer.parity import check_parity, straddling
from walkforward_trainer.resolved import Head, Model, Target

if TYPE_CHECKING:
    from walkforward_trainer.dataset import Dataset
    from walkforward_trainer.fit import Fitted


@pytest.fixture(scope="module")
def rows() -> Dataset:
    return rows_of(3, count=700)


@pytest.fixture(scope="module")
def fitted(rows: Dataset) -> Fitted:
    return fit(rows, plan_of(("forest", "lightgbm"), KINDS[3], model=Model(trees=15, depth=3)))


def broken(rows: Dataset, fitted: Fitted) -> str:
    with pytest.raises(Broken, match="nothing was published") as caught:
        check_parity(rows.x, fitted)
    assert caught.value.reason is Reason.PARITY_FAILED
    return str(caught.value)


def test_what_is_equal_passes(rows: Dataset, fitted: Fitted) -> None:
    parity = check_parity(rows.x, fitted)
    assert 0 < parity.max_abs <= 1e-7
    assert parity.rows == len(rows) + 3 * len({split for base in fitted.bases for split in base.part.splits})


def test_a_shift_of_the_calibrator_is_found(rows: Dataset, fitted: Fitted) -> None:
    model = onnx.load_from_string(fitted.model)
    (floor,) = (constant for constant in model.graph.initializer if constant.name == "cal1_floor")
    floor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(floor) + 1e-5, "cal1_floor"))
    assert "calibration" in broken(rows, replace(fitted, model=model.SerializeToString()))


def test_classes_that_changed_places_are_found(rows: Dataset, fitted: Fitted) -> None:
    model = onnx.load_from_string(fitted.model)
    for node in model.graph.node:
        if node.name == "calibrated":
            node.input[0], node.input[2] = node.input[2], node.input[0]
    said = broken(rows, replace(fitted, model=model.SerializeToString()))
    assert "rows have another most probable class" in said
    assert "; 0 rows" not in said


@pytest.fixture(scope="module")
def headed(rows: Dataset) -> Fitted:
    """Two yes-no outputs, and an estimate between bounds."""
    some = np.nan_to_num(rows.y) > 0
    targets = {"risk": some.astype(float), "calm": (rows.x[:, 1] > 0).astype(float), "price": rows.returns}
    heads = (Head("risk", Target("Risk")), Head("calm", Target("Risk")), Head("price", Target("Price"), coverage=0.8))
    return fit(replace(rows, targets=targets), plan_of(("xgboost",), KINDS[3], model=Model(trees=8, depth=3), heads=heads))


def test_heads_that_are_equal_pass(rows: Dataset, headed: Fitted) -> None:
    assert check_parity(rows.x, headed).max_abs <= 2e-7


@pytest.mark.parametrize(("one", "other", "named"), [("risk", "calm", "head risk"), ("price_lower", "price_upper", "head price")])
def test_heads_that_changed_places_are_found(rows: Dataset, headed: Fitted, one: str, other: str, named: str) -> None:
    """Each is what some model says: only which one it should be tells them apart."""
    model = onnx.load_from_string(headed.model)
    made = {output: node for node in model.graph.node for output in node.output}
    made[one].input[0], made[other].input[0] = made[other].input[0], made[one].input[0]
    assert named in broken(rows, replace(headed, model=model.SerializeToString()))


def test_a_bound_that_is_no_number_is_found(rows: Dataset, headed: Fitted) -> None:
    model = onnx.load_from_string(headed.model)
    made = {output: node for node in model.graph.node for output in node.output}
    shift = made[made["price_upper"].input[0]].input[1]
    (constant,) = (one for one in model.graph.initializer if one.name == shift)
    constant.CopyFrom(numpy_helper.from_array(np.array([[np.nan]]), shift))
    broken(rows, replace(headed, model=model.SerializeToString()))


def test_one_threshold_one_step_off_is_found_by_the_rows_around_it(rows: Dataset, fitted: Fitted) -> None:
    """The window's own rows need not lie there: this is what the rows around thresholds are for."""
    part = fitted.bases[1].part
    at = int(np.flatnonzero(part.yes >= 0)[0])  # type: ignore[union-attr]
    moved = part.threshold.copy()  # type: ignore[union-attr]
    moved[at] = np.nextafter(moved[at], np.float32(9))
    wrong = replace(part, threshold=moved)  # type: ignore[arg-type]
    base = BaseModel(part=wrong, native=fitted.bases[1].native)
    assert "base model 2" in broken(rows, replace(fitted, bases=(fitted.bases[0], base)))


def test_answers_that_are_no_numbers_are_found(rows: Dataset, fitted: Fitted) -> None:
    model = onnx.load_from_string(fitted.model)
    (floor,) = (constant for constant in model.graph.initializer if constant.name == "cal1_floor")
    floor.CopyFrom(numpy_helper.from_array(np.array([[np.nan]]), "cal1_floor"))
    broken(rows, replace(fitted, model=model.SerializeToString()))


@pytest.mark.parametrize("number", [0, 1])
def test_a_library_that_says_nothing_of_a_row_is_found(rows: Dataset, fitted: Fitted, number: int) -> None:
    """Whichever of the models it is: what is no number is not smaller than the limit, and not larger either."""
    bases = list(fitted.bases)
    silent = bases[number]
    bases[number] = BaseModel(part=silent.part, native=lambda x: np.where(np.arange(len(x))[:, None] == 7, np.nan, silent.native(x)))
    assert f"base model {number + 1} nan" in broken(rows, replace(fitted, bases=tuple(bases)))


def test_rows_around_thresholds_differ_from_rows_of_the_window_in_one_feature() -> None:
    x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    splits = [(0, float(np.float32(0.1))), (2, -1.0), (2, 3.5)]
    rows = straddling(x, splits)
    assert rows.shape == (9, 3)
    for number, (feature, threshold) in enumerate(splits):
        below, at, above = rows[3 * number : 3 * number + 3, feature]
        assert below < at == np.float32(threshold) < above
        assert np.nextafter(below, np.float32(9)) == at == np.nextafter(above, np.float32(-9))
        others = [column for column in range(3) if column != feature]
        assert (rows[3 * number, others] == x[:, others]).all(axis=1).any()
    assert straddling(x, []).shape == (0, 3)
    assert len(straddling(x, [(0, value / 100) for value in range(100)], 10)) == 30
    assert len(golden_rows(x, [(0, value / 1000) for value in range(900)])) <= 512
