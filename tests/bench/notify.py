"""Row 5: the time from a COMMIT until all processes are told, beside bare connections in LISTEN."""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack

import psycopg

from tests.bench.ground import Ground, ground
from tests.bench.measure import Measure, Scale
from tests.bench.record import Figure, Goal, Result, Spread, ratios
from tests.bench.subject import Subject, environment

COUNTS = (1, 4, 16, 64)
#: Seconds between two commits to the same processes: a listener takes 20 notifications a second.
PACE = 0.055
#: Until then nobody looks at what they have written down, so that nobody is in their way.
QUIET = 0.015

_HOW = (
    "Processes of two kinds on one server, in two databases: this package's listener with Django "
    "and django CMS loaded, and a bare psycopg connection in LISTEN. By turns, the URL of an "
    "apphook page is updated; the clock runs from the COMMIT until the last process of the kind "
    "has written down that it was told."
)
_P99 = "Quartiles of a p99 are those of 200 samples drawn from the rounds."

Times = list[float]


def run(scale: Scale) -> Result:
    """For each number of processes, commit by turns until the time is over."""
    counts = COUNTS[:2] if scale.quick else COUNTS
    figures: list[Figure] = []
    samples: dict[str, Times] = {}
    curves: dict[str, list[tuple[float, float]]] = {}
    for count in counts:
        ours, bare = _measure(ground(), count, scale.seconds / len(counts))
        figures += _figures(count, ours, bare)
        for name, times in (("push", ours), ("bare", bare)):
            samples[f"{count} processes, {name}"] = times
            for part, share in (("p50", 0.5), ("p99", 0.99)):
                curve = curves.setdefault(f"{name}, {part}", [])
                curve.append((count, quantile(times, share)))
    return Result(
        5,
        "notify",
        "from COMMIT to all processes flagged",
        figures,
        samples,
        "ms",
        (_HOW, _P99),
        curves,
        ("processes", "ms"),
    )


def _figures(count: int, ours: Times, bare: Times) -> list[Figure]:
    name = f"{count} processes" if count > 1 else "1 process"
    goal = Goal("≤ 2 × the floor's", at_most=2)
    return [
        Figure(f"{name}: p50, push / floor", ratios(ours, bare), "×"),
        Figure(f"{name}: p99, push / floor", ratio_of_quantiles(ours, bare, 0.99), "×", goal),
        Figure(f"{name}: push", Spread.of(ours), "ms"),
    ]


def _measure(place: Ground, count: int, seconds: float) -> tuple[Times, Times]:
    with ExitStack() as stack:
        kinds = {}
        for kind in ("ours", "bare"):
            dsn = stack.enter_context(place.database(1))
            writer = stack.enter_context(psycopg.connect(dsn))
            subject = stack.enter_context(Subject("tests.bench.flagging", environment(dsn, "ours")))
            subject.ask("start", kind=kind, count=count)
            stack.callback(subject.ask, "stop")
            kinds[kind] = (writer, subject)
        found: dict[str, Times] = {"ours": [], "bare": []}
        deadline = time.monotonic() + seconds
        number = 0
        while number < 20 or time.monotonic() < deadline:
            began = time.monotonic()
            for kind in list(kinds)[:: 1 if number % 2 else -1]:
                found[kind].append(_commit(*kinds[kind], f"news-{number}"))
            number += 1
            threading.Event().wait(max(0.0, began + PACE - time.monotonic()))
    return found["ours"], found["bare"]


def _commit(writer: psycopg.Connection, subject: Subject, path: str) -> float:
    """Return the milliseconds until all were told."""
    writer.execute("UPDATE cms_pageurl SET path = %s WHERE language = 'en'", (path,))
    began = time.monotonic_ns()
    writer.commit()
    threading.Event().wait(QUIET)
    told: list[int] = subject.ask("told_since", begin=began)
    return (max(told) - began) / 1e6


def quantile(samples: Sequence[float], share: float) -> float:
    """Return the value below which a share of the samples is."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def ratio_of_quantiles(ours: Times, bare: Times, share: float) -> Spread:
    """Return how two quantiles compare, with quartiles of what other rounds could have given."""
    chance = random.Random(0)
    pairs = list(zip(ours, bare, strict=True))
    drawn = []
    for _ in range(200):
        again = chance.choices(pairs, k=len(pairs))
        drawn.append(
            quantile([a for a, _ in again], share) / quantile([b for _, b in again], share)
        )
    low, _, high = statistics.quantiles(drawn, n=4)
    return Spread(quantile(ours, share) / quantile(bare, share), low, high)


MEASURES = (Measure(5, "notify", "from COMMIT to all processes flagged", run),)
