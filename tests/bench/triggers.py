"""Row 12: what the triggers cost those who write plain pages."""

from __future__ import annotations

import time
from collections import defaultdict

from tests.bench.ground import ground
from tests.bench.measure import Measure, Scale
from tests.bench.record import Figure, Goal, Result, ratios
from tests.bench.subject import Subject, environment

URLS = 10_000
SAVES = 40
KINDS = ("none", "ours", "empty")

_NOTES = (
    "The triggers are dropped and put in by turns, in one database with 100 apphook pages; one "
    "process writes. A save is page.save() in a transaction of its own, a bulk update is one "
    "statement that changes a column without an index.",
    "An empty trigger is one for each statement that may look at the rows and does not: there is "
    "no cheaper one that sees what a statement changed.",
    "The last figure is what saving a plain page costs more with the package installed: with its "
    "commit hook, which asks for the old row, and with its triggers.",
)


def run(scale: Scale) -> Result:
    """Write by turns until the time is over."""
    urls = 1_000 if scale.quick else URLS
    save: dict[str, list[float]] = defaultdict(list)
    bulk: dict[str, list[float]] = defaultdict(list)
    with ground() as place, place.database(100, urls // 2, triggers=False) as dsn:
        with (
            Subject("tests.bench.saving", environment(dsn, "ours")) as ours,
            Subject("tests.bench.saving", environment(dsn, "none")) as bare,
        ):
            deadline = time.monotonic() + scale.seconds
            for number in range(max(3, scale.rounds)):
                if number >= 3 and time.monotonic() >= deadline:
                    break
                for kind in KINDS[number % 3 :] + KINDS[: number % 3]:
                    ours.ask("triggers", kind=kind)
                    save[kind].append(ours.ask("save", count=SAVES) * 1000)
                    bulk[kind].append(ours.ask("update", managed=number % 2 == 0) * 1000)
                    if kind == "none":
                        save["bare"].append(bare.ask("save", count=SAVES) * 1000)
    return Result(
        12, "triggers", "writing plain pages, with triggers", _figures(save, bulk, urls),
        {
            **{f"save, {name}": samples for name, samples in save.items()},
            **{f"bulk update, {name}": samples for name, samples in bulk.items()},
        },
        "ms",
        _NOTES,
    )  # fmt: skip


def _figures(
    save: dict[str, list[float]], bulk: dict[str, list[float]], urls: int
) -> list[Figure]:
    figures = []
    for what, found, goal in (
        ("save of a plain page", save, Goal("≤ 1.05 × without", at_most=1.05)),
        (f"bulk update of {urls:,} plain URLs", bulk, Goal("≤ 1.2 × without", at_most=1.2)),
    ):
        with_ours, without = found["ours"], found["none"]
        figures.append(Figure(f"{what}: triggers / none", ratios(with_ours, without), "×", goal))
        floor = ratios(found["empty"], without)
        figures.append(Figure(f"{what}: empty triggers / none", floor, "×"))
    whole = ratios(save["ours"], save["bare"])
    figures.append(Figure("save of a plain page: package / no package", whole, "×"))
    return figures


MEASURES = (Measure(12, "triggers", "writing plain pages, with triggers", run),)
