"""Features of other packages: found by their entry points, held to what they promise, named with their package when they break."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from feature_rows import random_bars

from walkforward_core import plugins
from walkforward_core.features import Bars, Feature, FeatureError, Sheet, check_causal, compute, features, latest, lookback, unknown
from walkforward_core.plugins import PluginError, package_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


MODULE = """
import numpy as np
from walkforward_core.features import Feature
from walkforward_core.features.folds import highest

def away(bars):
    return bars.close / highest(bars.close, 30) - 1

def ahead(bars):
    return np.append(bars.close[1:], np.nan)

def whole(bars):
    return bars.close - bars.close.mean()

def writes(bars):
    bars.close[0] = 1.0
    return bars.close

AWAY = Feature(29, away, "close to the highest of 30 closes, less 1")
SHORT = Feature(10, away, "says that it needs less than it reads")
AHEAD = Feature(0, ahead, "the next close")
WHOLE = Feature(0, whole, "close less the mean of all")
RAISES = Feature(1, lambda bars: 1 / 0, "raises")
LENGTH = Feature(1, lambda bars: bars.close[1:], "one too few")
TEXT = Feature(0, lambda bars: ["high"] * len(bars), "no numbers")
WRITES = Feature(0, writes, "writes into the bars")
NUMBER = 7
BEFORE = Feature(-1, away, "less than no bars")
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Installs a package ``desk`` with the entry points that it is called with."""
    info = tmp_path / "desk-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: desk\nVersion: 1.0\n")
    (tmp_path / "desk_of_this_test.py").write_text(MODULE)

    def put(**points: str) -> None:
        lines = [f"{name} = desk_of_this_test:{value}" for name, value in points.items()]
        (info / "entry_points.txt").write_text("\n".join(["[walkforward.features]", *lines, ""]))
        monkeypatch.syspath_prepend(str(tmp_path))
        plugins._loaded.cache_clear()

    yield put
    monkeypatch.undo()
    plugins._loaded.cache_clear()


def test_a_feature_of_another_package_is_one_of_the_table(install: Callable[..., None]) -> None:
    assert unknown(["desk_away"]) == ["desk_away"]
    install(desk_away="AWAY")
    assert unknown(["desk_away", "ret_1", "no"]) == ["no"]
    assert "desk_away" in features()
    assert lookback(["ret_1", "desk_away"]) == 29
    bars = random_bars(1, 200)
    x = compute(bars, ["ret_1", "desk_away"])
    assert np.isnan(x[:29, 1]).all()
    assert x[-1, 1] == np.float32(bars.close[-1] / bars.close[-30:].max() - 1)
    assert latest(bars, ["ret_1", "desk_away"]).tobytes() == x[-1].tobytes()
    assert package_of("walkforward.features", "desk_away") == "desk"
    assert package_of("walkforward.features", "ret_1") is None


@pytest.mark.parametrize(
    ("point", "why"),
    [
        ("RAISES", r"broke on 100 bars: ZeroDivisionError\('division by zero'\); correct its formula"),
        ("LENGTH", r"has the shape \(99,\) on 100 bars; return one number for each"),
        ("TEXT", r"broke on 100 bars: ValueError"),
        ("WRITES", r"broke on 100 bars: ValueError\('assignment destination is read-only'\)"),
        ("SHORT", r"in row \d+, and .* from that row and its look-back of 10 alone; it reads later rows or more earlier ones"),
        ("AHEAD", r"from that row and its look-back of 0 alone"),
        ("WHOLE", r"from that row and its look-back of 0 alone"),
    ],
)
def test_one_that_breaks_is_named_with_its_package(install: Callable[..., None], point: str, why: str) -> None:
    install(broken=point)
    with pytest.raises(FeatureError, match=f"^feature 'broken' of the package desk .*{why}"):
        compute(random_bars(1, 100), ["ret_1", "broken"])


@pytest.mark.parametrize("point", ["NUMBER", "BEFORE"])
def test_what_is_no_feature_is_refused(install: Callable[..., None], point: str) -> None:
    install(broken=point)
    with pytest.raises(
        FeatureError, match=r"^feature 'broken' of the package desk is .*; an entry point of walkforward\.features names a Feature"
    ):
        unknown(["ret_1"])


def test_a_name_of_walkforward_itself_cannot_be_taken(install: Callable[..., None]) -> None:
    install(ret_1="AWAY")
    with pytest.raises(PluginError, match=r"entry point walkforward\.features: ret_1 is a name of walkforward itself"):
        features()


def later(bars: Bars) -> np.ndarray:
    return np.append(bars.close[1:], np.nan)


def rarely_later(bars: Bars) -> np.ndarray:
    """Reads the next bar once in fifty."""
    out = bars.close.copy()
    rows = np.arange(0, len(bars) - 1, 50)
    out[rows] = bars.close[rows + 1]
    return out


@pytest.mark.parametrize(
    ("formula", "back", "why"),
    [
        (later, 0, "are cut off: it reads later rows"),
        (lambda bars: bars.close - bars.close.mean(), 0, "are cut off: it reads later rows"),
        (lambda bars: np.cumsum(bars.volume), 5, "rows are cut off: it reads more than its look-back of 5"),
        (rarely_later, 0, "are cut off"),
    ],
)
def test_the_check_finds_what_looks_ahead_or_too_far_back(formula: Callable[[Bars], np.ndarray], back: int, why: str) -> None:
    with pytest.raises(FeatureError, match=f"feature 'mine' is .* in row .*{why}"):
        check_causal(Feature(back, formula, "mine"), random_bars(1, 400), name="mine", cuts=60)


def test_the_check_needs_rows_to_cut() -> None:
    with pytest.raises(ValueError, match="20 rows are too few for a look-back of 30"):
        check_causal(Feature(30, lambda bars: bars.close, "close"), random_bars(1, 20))


def test_the_example_of_the_page_keeps_its_promise() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "features.md").read_text(encoding="utf-8")
    example = next(block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "CLOSE_IN_RANGE_20 = " in block)
    scope: dict[str, Feature] = {}
    exec(example, scope)
    bars = random_bars(1, 300)
    check_causal(scope["CLOSE_IN_RANGE_20"], bars)
    expected = compute(bars, ["donchian_20"])[19:, 0]
    np.testing.assert_array_equal(scope["CLOSE_IN_RANGE_20"].formula(Sheet.over(bars))[19:].astype(np.float32), expected)
