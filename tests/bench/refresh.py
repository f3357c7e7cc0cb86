"""Rows 7 and 8: a refresh, with the first resolve and reverse after it, beside django CMS's."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack

import psycopg

from tests.bench.ground import Ground, ground
from tests.bench.measure import Measure, Scale
from tests.bench.record import Figure, Goal, Result, Spread, ratios
from tests.bench.subject import Subject, environment

SIZES = (1, 10, 100, 1_000, 5_000)
ONE_OF = 1_000

_SETUP = (
    "Each page has an apphook with three URL patterns and a URL in two languages; a page in the "
    "middle is resolved and reversed. Both in processes that have done it before. With the time "
    "of all queries, on a PostgreSQL server on the same machine."
)

Samples = dict[str, list[float]]


def run_all_changed(scale: Scale) -> Result:
    """Row 7: each page has another URL than before."""
    sizes = SIZES[:3] if scale.quick else SIZES
    # As much time for each, but that the largest take so long that they need more.
    weights = {size: 1 + size / 1_000 for size in sizes}
    figures: list[Figure] = []
    samples: Samples = {}
    curves: dict[str, list[tuple[float, float]]] = {"this package": [], "django CMS": []}
    queries = []
    for size in sizes:
        seconds = scale.seconds * weights[size] / sum(weights.values())
        found = _measure(ground(), size, _change_all, seconds, scale.rounds)
        ours, core = found["ours"], found["core"]
        goal = Goal("≤ 0.5 × core", at_most=0.5)
        figures.append(Figure(f"{size:,} pages: push / core", ratios(ours, core), "×", goal))
        samples |= {f"{size:,} pages, {name}": found[name] for name in ("ours", "core")}
        curves["this package"].append((size, Spread.of(ours).median))
        curves["django CMS"].append((size, Spread.of(core).median))
        queries += found["queries"]
    figures.append(_queries(queries))
    return Result(
        7,
        "refresh",
        "refresh of all apphook pages",
        figures,
        samples,
        "ms",
        (_SETUP, "All pages have another URL than before, so that nothing is used again."),
        curves,
        ("apphook pages", "ms"),
    )


def run_one_changed(scale: Scale) -> Result:
    """Row 8: one page of many has another URL than before."""
    pages = 100 if scale.quick else ONE_OF
    found = _measure(ground(), pages, _change_one, scale.seconds, scale.rounds)
    ours, core = found["ours"], found["core"]
    goal = Goal("≤ 0.2 × core", at_most=0.2)
    return Result(
        8,
        "refresh-one",
        f"refresh when one page of {pages:,} changed",
        [
            Figure(f"one of {pages:,} pages: push / core", ratios(ours, core), "×", goal),
            Figure("push, without resolve and reverse", Spread.of(found["refresh"]), "ms"),
            _queries(found["queries"]),
        ],
        {"ours": ours, "core": core},
        "ms",
        (_SETUP, "The page that changed is the one that is resolved and reversed."),
    )


def _queries(queries: list[float]) -> Figure:
    most = Spread.of([max(queries)])
    return Figure("push: queries a refresh, at most", most, "queries", Goal("≤ 4", at_most=4))


def _measure(
    place: Ground,
    pages: int,
    change: Callable[[psycopg.Connection, int, str], None],
    seconds: float,
    rounds: int,
) -> Samples:
    """Refresh by turns until the time is over, at least twice and at most ``rounds`` times."""
    found: Samples = defaultdict(list)
    with ExitStack() as stack:
        dsn = stack.enter_context(place.database(pages))
        connection = stack.enter_context(psycopg.connect(dsn))
        subjects = {
            name: stack.enter_context(
                Subject("tests.bench.refreshing", environment(dsn, name, DEMO_CONN_MAX_AGE="600"))
            )
            for name in ("ours", "core")
        }
        deadline = time.monotonic() + seconds
        middle = pages // 2
        page = f"hook-{middle}"
        # Two that do not count: what a process does once is done then.
        for number in range(-2, max(2, rounds)):
            if number >= 2 and time.monotonic() >= deadline:
                break
            slug = f"{page}-{number + 2}"
            change(connection, middle, str(number + 2))
            for name in list(subjects)[:: 1 if number % 2 else -1]:
                answer = subjects[name].ask(
                    "refresh", path=f"/en/{slug}/", name=f"{page}:story-list"
                )
                if number >= 0:
                    found[name].append(answer["seconds"] * 1000)
                    if name == "ours":
                        found["queries"].append(answer["queries"])
                        found["refresh"].append(answer["refresh"] * 1000)
    return found


def _change_all(connection: psycopg.Connection, middle: int, suffix: str) -> None:
    _change(connection, "TRUE", suffix)


def _change_one(connection: psycopg.Connection, middle: int, suffix: str) -> None:
    _change(connection, f"application_namespace = 'hook-{middle}'", suffix)


def _change(connection: psycopg.Connection, condition: str, suffix: str) -> None:
    connection.execute(
        "UPDATE cms_pageurl SET path = application_namespace || '-' || %s "
        f"FROM cms_page WHERE cms_page.id = page_id AND {condition}",
        (suffix,),
    )
    # By this django CMS knows that there is something to reload.
    connection.execute("UPDATE cms_urlconfrevision SET revision = %s", (suffix,))
    connection.commit()


MEASURES = (
    Measure(7, "refresh", "refresh of all apphook pages", run_all_changed),
    Measure(8, "refresh-one", "refresh when one page of 1,000 changed", run_one_changed),
)
