"""What a benchmark measured, in one form for the table, the JSON and the charts. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Spread:
    """Many samples of one thing: their median, and the quartiles around it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Spread:
        """Summarise samples, at least one."""
        if len(samples) < 2:
            return cls(samples[0], samples[0], samples[0])
        low, _, high = statistics.quantiles(samples, n=4, method="inclusive")
        return cls(statistics.median(samples), low, high)


@dataclass(frozen=True)
class Goal:
    """What a figure is held against."""

    #: As people read it: "≥ 0.98 of none".
    text: str
    at_least: float | None = None
    at_most: float | None = None

    def is_met_by(self, value: float) -> bool:
        """Whether a figure keeps it."""
        return (self.at_least is None or value >= self.at_least) and (
            self.at_most is None or value <= self.at_most
        )


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    #: What was measured and on what: "push / none", "1,000 pages: push / core".
    name: str
    value: Spread
    #: "×" for a ratio, else "ms", "statements" and so on.
    unit: str
    goal: Goal | None = None


@dataclass(frozen=True)
class Result:
    """All that one measure has found."""

    #: Of the row in docs/benchmarks.md.
    number: int
    #: Its name on the command line: "requests-trivial".
    name: str
    #: What it measures, in a few words.
    title: str
    figures: Sequence[Figure]
    #: What the figures were made of, by the name of each subject: the samples, in ``unit``.
    samples: Mapping[str, Sequence[float]] = field(default_factory=dict)
    unit: str = ""
    #: What a reader must know to judge it, a sentence each.
    notes: Sequence[str] = ()
    #: Curves to be drawn: a name, and (x, y) pairs.
    curves: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    #: Names of the axes of the curves.
    axes: tuple[str, str] = ("", "")


def ratios(subject: Sequence[float], other: Sequence[float]) -> Spread:
    """Return how two things compare that were measured by turns: round by round, so that a machine
    that is slower for a while is so for both."""
    return Spread.of([a / b for a, b in zip(subject, other, strict=True)])


def as_data(result: Result) -> dict[str, Any]:
    """Return a result as what JSON knows."""
    return {
        "number": result.number,
        "name": result.name,
        "title": result.title,
        "figures": [
            {
                "name": figure.name,
                "median": figure.value.median,
                "low": figure.value.low,
                "high": figure.value.high,
                "unit": figure.unit,
                "goal": figure.goal and figure.goal.text,
                "met": figure.goal and figure.goal.is_met_by(figure.value.median),
            }
            for figure in result.figures
        ],
        "samples": {name: list(values) for name, values in result.samples.items()},
        "unit": result.unit,
        "notes": list(result.notes),
        "curves": {name: [list(point) for point in c] for name, c in result.curves.items()},
        "axes": list(result.axes),
    }
