"""Charts as inline SVG, drawn here: axes, lines, marks. No script, no font; colours come from the page's style by class.

A chart is drawn in pixels of its own view box and scaled by the browser. Letters are taken to be :data:`LETTER` wide, which is wide for
every sans-serif font, so labels that fit here fit there.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from walkforward_trainer.report.markup import Markup, el, join

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from walkforward_trainer.report.scale import Scale

__all__ = ["LETTER", "Chart", "Size", "figure", "legend"]

LETTER: Final = 7.4
"""Width of a letter of 12 pixels."""
TOP: Final = 26.0
RIGHT: Final = 14.0
BOTTOM: Final = 42.0
MARGIN: Final = 12.0


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height of a view box."""

    width: float
    height: float

    @property
    def letters(self) -> float:
        """How many letters have room along the bottom."""
        return (self.width - 60.0) / LETTER


@dataclass(frozen=True, slots=True)
class Chart:
    """The frame of a chart: scales and what the axes measure. All coordinates that it takes are values of its scales."""

    size: Size
    x: Scale
    y: Scale
    x_title: str
    y_title: str

    @property
    def left(self) -> float:
        """Where the plot begins: after the longest label."""
        return MARGIN + LETTER * max((len(tick.label) for tick in self.y.ticks), default=0)

    def at_x(self, value: float) -> float:
        """Return the pixel of ``value``."""
        return self.left + self.x.place(value) * (self.size.width - self.left - RIGHT)

    def at_y(self, value: float) -> float:
        """Return the pixel of ``value``; the axis points up."""
        return TOP + (1 - self.y.place(value)) * (self.size.height - TOP - BOTTOM)

    def draw(self, marks: Iterable[Markup], *, title: str, says: str, name: str, kind: str = "") -> Markup:
        """Return the SVG: ``title`` is its name, ``says`` tells in words what a person sees, ``name`` is unique on the page."""
        parts = (el("title", title, id=f"{name}-t"), el("desc", says, id=f"{name}-d"), self._grid(), *marks, self._labels())
        box = f"0 0 {self.size.width:g} {self.size.height:g}"
        return el("svg", *parts, viewBox=box, role="img", aria_labelledby=f"{name}-t {name}-d", class_=f"chart {kind}".strip())

    def line(self, xs: Sequence[float], ys: Sequence[float], kind: str) -> Markup:
        """Return a line through the points."""
        points = " ".join(f"{self.at_x(x):.1f},{self.at_y(y):.1f}" for x, y in zip(xs, ys, strict=True))
        return el("polyline", points=points, class_=f"line {kind}")

    def area(self, xs: Sequence[float], low: Sequence[float], high: Sequence[float], kind: str) -> Markup:
        """Return the area between two lines."""
        there = [f"{self.at_x(x):.1f},{self.at_y(y):.1f}" for x, y in zip(xs, high, strict=True)]
        back = [f"{self.at_x(x):.1f},{self.at_y(y):.1f}" for x, y in zip(reversed(xs), reversed(low), strict=True)]
        return el("polygon", points=" ".join(there + back), class_=f"area {kind}")

    def bar(self, x: tuple[float, float], y: tuple[float, float], kind: str, says: str = "") -> Markup:
        """Return a rectangle over [x0, x1] × [y0, y1]."""
        left, right, top, bottom = self.at_x(x[0]), self.at_x(x[1]), self.at_y(y[1]), self.at_y(y[0])
        inside = (el("title", says),) if says else ()
        return el("rect", *inside, x=left, y=top, width=max(right - left, 0.1), height=max(bottom - top, 0.1), class_=kind)

    def dot(self, x: float, y: float, radius: float, kind: str, says: str = "") -> Markup:
        """Return a circle."""
        inside = (el("title", says),) if says else ()
        return el("circle", *inside, cx=self.at_x(x), cy=self.at_y(y), r=radius, class_=f"dot {kind}")

    def level(self, y: float, kind: str) -> Markup:
        """Return a line across the plot at ``y``."""
        return self.line((self.x.low, self.x.high), (y, y), kind)

    def upright(self, x: float, kind: str) -> Markup:
        """Return a line from bottom to top at ``x``."""
        return self.line((x, x), (self.y.low, self.y.high), kind)

    def note(self, x: float, y: float, words: str, *, above: float = 6.0) -> Markup:
        """Return ``words`` beside the point, on the side that has room, ``above`` pixels above it."""
        right = self.has_room(x, words)
        place = self.at_x(x) + (6 if right else -6)
        return el("text", words, x=place, y=self.at_y(y) - above, class_="note", text_anchor="start" if right else "end")

    def has_room(self, x: float, words: str) -> bool:
        """Return whether ``words`` fit to the right of ``x``."""
        return self.at_x(x) + 6 + len(words) * LETTER < self.size.width - 2

    def tips(self, xs: Sequence[float], says: Sequence[str]) -> Markup:
        """Return upright strips, one around each of ``xs`` (ascending), that show their words under the pointer."""
        edges = [self.x.low, *((a + b) / 2 for a, b in pairwise(xs)), self.x.high]
        strips = zip(edges, edges[1:], says, strict=False)
        return el("g", *(self.bar((low, high), (self.y.low, self.y.high), "tip", words) for low, high, words in strips))

    def _grid(self) -> Markup:
        rules = [self.level(tick.at, "grid" if tick.at else "grid zero") for tick in self.y.ticks]
        return el("g", *rules)

    def _labels(self) -> Markup:
        bottom = self.size.height - BOTTOM
        down = (el("text", tick.label, x=self.left - 6, y=self.at_y(tick.at) + 4, text_anchor="end") for tick in self.y.ticks)
        across = (self._below(tick.at, tick.label, bottom + 17) for tick in self.x.ticks)
        ticks = (el("path", d=f"M{self.at_x(tick.at):.1f},{bottom:g}v4", class_="tick") for tick in self.x.ticks)
        titles = (
            el("text", self._fit(self.y_title), x=MARGIN / 2, y=13.0, class_="axis"),
            el("text", self._fit(self.x_title), x=self.size.width - RIGHT, y=self.size.height - 6, class_="axis", text_anchor="end"),
        )
        return el("g", *ticks, *down, *across, *titles, class_="labels")

    def _below(self, at: float, label: str, y: float) -> Markup:
        """Return a label below ``at``, moved inside where it would leave the picture."""
        label = self._fit(label, 1.0 / max(len(self.x.ticks), 1))
        half = len(label) * LETTER / 2
        x = min(max(self.at_x(at), half), self.size.width - half)
        return el("text", label, x=x, y=y, text_anchor="middle")

    def _fit(self, words: str, part: float = 1.0) -> str:
        """Return as much of ``words`` as has room in ``part`` of the width: a name that a plugin has given may be of any length."""
        room = int((self.size.width * part - RIGHT - MARGIN) / LETTER)
        return words if len(words) <= room else f"{words[: max(room - 1, 1)]}\N{HORIZONTAL ELLIPSIS}"


def figure(caption: str, *parts: Markup, note: str = "", kind: str = "") -> Markup:
    """Return the parts below their caption; ``note`` says how to read them."""
    below = (el("p", note, class_="how"),) if note else ()
    return el("figure", el("figcaption", caption), *parts, *below, class_=kind or None)


def legend(entries: Sequence[tuple[str, str]]) -> Markup:
    """Return the legend of lines: (kind, words)."""
    items = []
    for kind, words in entries:
        sample = el("svg", el("path", d="M1,6H25", class_=f"line {kind}"), viewBox="0 0 26 12", class_="sample", aria_hidden="true")
        items.append(el("li", sample, words))
    return join(el("ul", *items, class_="legend"))
