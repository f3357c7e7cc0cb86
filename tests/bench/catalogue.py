"""All measures, in the order of the table, and what each of them may take of the ten minutes."""

from __future__ import annotations

from tests.bench import (
    check,
    edits,
    heartbeats,
    idle,
    listeners,
    notify,
    refresh,
    startup,
    storm,
    throughput,
    triggers,
)
from tests.bench.measure import Measure, Scale

_MEASURES: tuple[Measure, ...] = (
    *throughput.MEASURES,
    *check.MEASURES,
    *notify.MEASURES,
    *edits.MEASURES,
    *refresh.MEASURES,
    *storm.MEASURES,
    *idle.MEASURES,
    *heartbeats.MEASURES,
    *triggers.MEASURES,
    *listeners.MEASURES,
    *startup.MEASURES,
)
#: By the number of the row: seconds, and rounds.
_BUDGETS = {
    1: (50.0, 60),
    2: (90.0, 20),
    3: (50.0, 40),
    4: (10.0, 20),
    5: (40.0, 10),
    6: (75.0, 10),
    7: (40.0, 5),
    8: (20.0, 10),
    9: (60.0, 6),
    10: (75.0, 1),
    11: (25.0, 2),
    12: (20.0, 20),
    13: (30.0, 5),
    14: (15.0, 10),
}


def measures() -> list[Measure]:
    """Return all measures, by number."""
    return sorted(_MEASURES, key=lambda measure: measure.number)


def scale(measure: Measure, *, quick: bool, seconds: float | None = None) -> Scale:
    """Return how much to measure; ``seconds`` in place of its part of the ten minutes."""
    budget, rounds = _BUDGETS[measure.number]
    if quick:
        return Scale(seconds or min(budget, 12.0), min(rounds, 3), quick=True)
    return Scale(seconds or budget, rounds, quick=False)
