"""Row 6: an editor's changes in the admin, and how long after its response the last of four
workers is right. The demo's driver makes them and asks.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg

from tests.bench.measure import Measure, Scale
from tests.bench.record import Figure, Goal, Result, Spread, ratios
from tests.bench.stand import CORE, PUSH, Rival, get_stand
from tests.demo.driver import Driver, Outcome

WORKERS = 4
#: Changes in one turn: an app is attached, gets a new slug in each language, and is detached.
BLOCK = 4
ENOUGH = 1000
#: Of the turns, one in so many has core make its changes too.
CORE_EVERY = 5
#: Wrong answers of push that are told one by one.
SHOWN = 5
#: Seconds after which a worker that is still wrong is left alone.
GIVE_UP_AFTER = 5.0


def run(scale: Scale) -> Result:
    """Make changes until the time is over, or there are enough."""
    get_stand()
    until = time.monotonic() + scale.seconds
    turns: dict[str, list[list[Outcome]]] = {"push": [], "core": []}
    with ExitStack() as stack:
        changes = {rival.name: _changes(stack, rival) for rival in (PUSH, CORE)}
        while time.monotonic() < until and len(turns["push"]) * BLOCK < ENOUGH:
            both = len(turns["push"]) % CORE_EVERY == 0
            for name in changes if both else ("push",):
                turns[name].append(list(itertools.islice(changes[name], BLOCK)))
    return _result(turns["push"], turns["core"])


def _changes(stack: ExitStack, rival: Rival) -> Iterator[Outcome]:
    """A site of its own, whose pages have no apphooks yet, and an endless row of changes."""
    stand = get_stand()
    dsn = stack.enter_context(stand.database())
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "UPDATE cms_page SET application_urls = NULL, application_namespace = NULL"
        )
    site = stack.enter_context(stand.site(rival, dsn, workers=WORKERS))
    driver = Driver(site, give_up_after=GIVE_UP_AFTER)
    driver.warm_up()
    return driver.run(sys.maxsize)


def _result(push: list[list[Outcome]], core: list[list[Outcome]]) -> Result:
    made = sum(map(len, push))
    figures = [
        Figure(f"push: wrong answers in {made:,} changes", _wrong(push), "", Goal("0", at_most=0)),
        Figure(f"core: wrong answers in {sum(map(len, core)):,} changes", _wrong(core), ""),
        Figure("push / core", ratios(_medians(push[::CORE_EVERY]), _medians(core)), "×"),
        Figure("push: response to last worker right", Spread.of(_times(push)), "ms"),
        Figure("core: response to last worker right", Spread.of(_times(core)), "ms"),
    ]
    notes = [
        f"The time has that of the answers of {WORKERS} workers in it, all asked at once.",
        f"Of the {ENOUGH:,} changes of the goal, {made:,} were made in the time.",
    ]
    notes += [fault for turn in push for outcome in turn for fault in outcome.faults][:SHOWN]
    samples = {"push": _times(push), "core": _times(core)}
    return Result(6, EDITS.name, EDITS.title, figures, samples=samples, unit="ms", notes=notes)


def _wrong(turns: list[list[Outcome]]) -> Spread:
    return Spread.of([sum(outcome.wrong for turn in turns for outcome in turn)])


def _medians(turns: list[list[Outcome]]) -> list[float]:
    return [statistics.median(_times([turn])) for turn in turns]


def _times(turns: list[list[Outcome]]) -> list[float]:
    """In milliseconds; of a change that was given up, those after which it was."""
    worst = (outcome.worst for turn in turns for outcome in turn)
    return [1000 * (GIVE_UP_AFTER if seconds is None else seconds) for seconds in worst]


EDITS = Measure(6, "edits", "admin's response to the last of 4 workers right", run)
MEASURES = (EDITS,)
