"""Draws results as SVG that can be read on white and on black. Pure: data in, text out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

WIDTH = 640
RIGHT = 80
#: Of a letter, about.
LETTER = 6.7
BAR = 16
STEP = 26
TOP = 44

# No class of theirs is needed in the page: each image has its own.
_STYLE = """<style>
text { font: 12px system-ui, sans-serif; fill: #1f2328; }
.title { font-weight: 600; font-size: 13px; }
.dim { fill: #59636e; }
.axis { stroke: #8b949e; fill: none; }
.whisker { stroke: #1f2328; }
.s0 { fill: #0969da; stroke: #0969da; } .s1 { fill: #bc4c00; stroke: #bc4c00; }
.s2 { fill: #1a7f37; stroke: #1a7f37; } .s3 { fill: #8250df; stroke: #8250df; }
.line { fill: none; stroke-width: 2; }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc; } .dim { fill: #9198a1; } .whisker { stroke: #f0f6fc; }
.s0 { fill: #4493f8; stroke: #4493f8; } .s1 { fill: #f0883e; stroke: #f0883e; }
.s2 { fill: #3fb950; stroke: #3fb950; } .s3 { fill: #ab7df8; stroke: #ab7df8; }
.line { fill: none; }
}
</style>"""


class Bar(NamedTuple):
    """A ratio with its quartiles."""

    name: str
    median: float
    low: float
    high: float


def draw(result: Mapping[str, Any]) -> str | None:
    """Return the chart of a result, as JSON has it; None if there is nothing to draw: neither
    curves, nor more than one ratio."""
    if result["curves"]:
        return draw_curves(result["title"], result["curves"], result["axes"])
    ratios = [f for f in result["figures"] if f["unit"] == "×"]
    if len(ratios) < 2:
        return None
    return draw_bars(
        result["title"], [Bar(f["name"], f["median"], f["low"], f["high"]) for f in ratios]
    )


def draw_bars(title: str, bars: Sequence[Bar]) -> str:
    """Draw a bar for each ratio, whiskers from quartile to quartile, and a line at 1."""
    left = 16 + LETTER * max(len(bar.name) for bar in bars)
    scale = (WIDTH - left - RIGHT) / max(1.0, *(bar.high for bar in bars))
    bottom = TOP + STEP * len(bars)
    parts = [_line("axis", left + scale, TOP - 8, left + scale, bottom)]
    parts.append(_text(left + scale, TOP - 12, "1", "dim", "middle"))
    for number, bar in enumerate(bars):
        parts += _bar(bar, TOP + STEP * number, left, scale)
    return _svg(title, bottom + 10, parts)


def _bar(bar: Bar, top: float, left: float, scale: float) -> list[str]:
    middle = top + BAR / 2
    end = max(bar.median, bar.high) * scale + left
    width = bar.median * scale
    return [
        _text(left - 8, middle + 4, bar.name, "", "end"),
        f'<rect class="s0" x="{left:.1f}" y="{top}" width="{width:.1f}" height="{BAR}"/>',
        _line("whisker", left + bar.low * scale, middle, left + bar.high * scale, middle),
        _text(end + 6, middle + 4, f"{number(bar.median)} ×", "", "start"),
    ]


def draw_curves(
    title: str, curves: Mapping[str, Sequence[Sequence[float]]], axes: Sequence[str]
) -> str:
    """Draw curves with both axes logarithmic; what is not above zero is left out."""
    drawn = {
        name: [(x, y) for x, y in points if x > 0 and y > 0] for name, points in curves.items()
    }
    drawn = {name: points for name, points in drawn.items() if points}
    if not drawn:
        return _svg(title, TOP, [])
    every = [point for points in drawn.values() for point in points]
    height = 260
    bottom = TOP + height
    across = _Axis([x for x, _ in every], 70, WIDTH - 170)
    up = _Axis([y for _, y in every], bottom, TOP)
    parts = [f'<path class="axis" d="M70 {TOP}V{bottom}H{WIDTH - 170}"/>']
    parts += [_text(across.place(x), bottom + 16, number(x), "dim", "middle") for x in across.ticks]
    parts += [_text(64, up.place(y) + 4, number(y), "dim", "end") for y in up.ticks]
    parts.append(_text((70 + WIDTH - 170) / 2, bottom + 34, axes[0], "dim", "middle"))
    parts.append(_text(70, TOP - 10, axes[1], "dim", "middle"))
    for index, (name, points) in enumerate(drawn.items()):
        parts += _curve(index, name, [(across.place(x), up.place(y)) for x, y in points])
    return _svg(title, bottom + 44, parts)


class _Axis:
    """From values to places, logarithmically, over whole powers of ten."""

    def __init__(self, values: Sequence[float], first: float, last: float) -> None:
        self._low = math.floor(math.log10(min(values)))
        high = max(math.ceil(math.log10(max(values))), self._low + 1)
        self._first = first
        self._step = (last - first) / (high - self._low)
        self.ticks = [10.0**power for power in range(self._low, high + 1)]

    def place(self, value: float) -> float:
        return self._first + (math.log10(value) - self._low) * self._step


def _curve(index: int, name: str, places: Sequence[tuple[float, float]]) -> list[str]:
    style = f"s{index % 4}"
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    dots = [f'<circle class="{style}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in places]
    legend = TOP + 18 * index
    return [
        f'<path class="{style} line" d="M{path}"/>',
        *dots,
        f'<circle class="{style}" cx="{WIDTH - 152}" cy="{legend}" r="4"/>',
        _text(WIDTH - 142, legend + 4, name, "", "start"),
    ]


def number(value: float) -> str:
    """Return a number as people read it: three digits, or all before the point."""
    if value == 0 or value >= 100:
        return f"{value:,.0f}"
    if value >= 0.0001:
        decimals = max(0, 2 - math.floor(math.log10(value)))
        text = f"{value:.{decimals}f}"
        return text.rstrip("0").rstrip(".") if float(value).is_integer() else text
    return f"{value:.2g}"


def _line(style: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, style: str, anchor: str) -> str:
    of = f' class="{style}"' if style else ""
    return f'<text{of} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(title: str, height: float, parts: Sequence[str]) -> str:
    name = escape(title)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
        f'width="{WIDTH}" height="{height:.0f}" role="img" aria-label="{name}">'
    )
    return "\n".join([head, _STYLE, _text(12, 20, title, "title", "start"), *parts, "</svg>", ""])
