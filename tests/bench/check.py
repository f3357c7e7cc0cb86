"""Row 4: what a request costs in a middleware that finds nothing changed."""

from __future__ import annotations

import time
from collections import defaultdict

from tests.bench.ground import ground
from tests.bench.measure import Measure, Scale
from tests.bench.record import Figure, Goal, Result, Spread, ratios
from tests.bench.subject import Subject, environment

#: How often in a row: some milliseconds of each.
CALLS = {"empty": 20_000, "ours": 20_000, "core": 20}
MODES = {"sync": "WSGI", "asgi": "ASGI"}

_HOW = (
    "Each is called around a view that does nothing, in one process that listens, with a real "
    "PostgreSQL server on the same machine; no HTTP, no other middleware."
)
_ASGI = "Under ASGI, Django runs django CMS's middleware in a thread."


def run(scale: Scale) -> Result:
    """Call by turns until the time is over."""
    samples: dict[str, list[float]] = defaultdict(list)
    with ground().database(10) as dsn:
        with Subject("tests.bench.checking", environment(dsn, "ours")) as subject:
            subject.ask("listen")
            deadline = time.monotonic() + scale.seconds
            number = 0
            while number < 5 or (time.monotonic() < deadline and number < 100 * scale.rounds):
                for mode in MODES:
                    for kind, calls in CALLS.items():
                        samples[f"{mode} {kind}"].append(subject.ask(mode, kind=kind, calls=calls))
                number += 1
    return Result(
        4,
        "check",
        "the check of an unchanged request",
        [figure for mode in MODES for figure in _figures(mode, samples)],
        samples,
        "ns",
        (_HOW, _ASGI),
    )


def _figures(mode: str, samples: dict[str, list[float]]) -> list[Figure]:
    empty, ours, core = (samples[f"{mode} {kind}"] for kind in CALLS)
    name = MODES[mode]
    to_core = Goal("≤ 1/1000 of core", at_most=0.001)
    to_empty = Goal("≤ 2 × an empty middleware", at_most=2)
    return [
        Figure(f"{name}: push / core", ratios(ours, core), "×", to_core),
        Figure(f"{name}: push / empty middleware", ratios(ours, empty), "×", to_empty),
        Figure(f"{name}: push", Spread.of(ours), "ns"),
        Figure(f"{name}: core", Spread.of([each / 1000 for each in core]), "µs"),
    ]


MEASURES = (Measure(4, "check", "the check of an unchanged request", run),)
