"""Row 12: what the triggers cost those who write plain pages."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator

from tests.bench.ground import ground
from tests.bench.measure import Measure, Scale
from tests.bench.record import Figure, Goal, Result, ratios
from tests.bench.subject import Subject, environment

URLS = 10_000
SAVES = 40
KINDS = ("none", "ours", "empty")

Samples = dict[str, list[float]]

_HOW = (
    "The triggers are dropped and put in by turns, in one database with 100 apphook pages; one "
    "process writes. A save is page.save() in a transaction of its own; a bulk update is one "
    "statement that gives all URLs another path, as django CMS does below a page that moves."
)
_FLOOR = (
    "An empty trigger is one for each statement that may look at the rows and does not: there is "
    "no cheaper one that sees what a statement changed."
)
_WHOLE = (
    "The last figure is what saving a plain page costs with the package installed: with its commit "
    "hook, which asks for the old row, and with its triggers."
)


def run(scale: Scale) -> Result:
    """Write by turns until the time is over."""
    urls = 1_000 if scale.quick else URLS
    save: Samples = defaultdict(list)
    bulk: Samples = defaultdict(list)
    with ground().database(100, urls // 2, triggers=False) as dsn:
        with (
            Subject("tests.bench.saving", environment(dsn, "ours")) as ours,
            Subject("tests.bench.saving", environment(dsn, "none")) as bare,
        ):
            for _, kind in _turns(scale):
                ours.ask("triggers", kind=kind)
                save[kind].append(ours.ask("save", count=SAVES) * 1000)
                if kind == "none":
                    save["bare"].append(bare.ask("save", count=SAVES) * 1000)
            for number, kind in _turns(scale):
                ours.ask("triggers", kind=kind)
                bulk[kind].append(ours.ask("update", suffix=f"-{number}-{kind}") * 1000)
    return Result(
        12, "triggers", "writing plain pages, with triggers", _figures(save, bulk, urls),
        {
            **{f"save, {name}": samples for name, samples in save.items()},
            **{f"bulk update, {name}": samples for name, samples in bulk.items()},
        },
        "ms",
        (_HOW, _FLOOR, _WHOLE),
    )  # fmt: skip


def _turns(scale: Scale) -> Iterator[tuple[int, str]]:
    """Half of the time: each kind in each round, in another order each time."""
    deadline = time.monotonic() + scale.seconds / 2
    number = 0
    while number < 3 or time.monotonic() < deadline:
        first = number % len(KINDS)
        for kind in KINDS[first:] + KINDS[:first]:
            yield number, kind
        number += 1


def _figures(save: Samples, bulk: Samples, urls: int) -> list[Figure]:
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
