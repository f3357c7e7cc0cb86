"""Rows 1 to 3: how many requests a worker answers in a second, with each rival before it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.bench.load import Load, Order, port_of
from tests.bench.measure import Measure, Scale
from tests.bench.record import Figure, Goal, Result, ratios
from tests.bench.stand import ALDRYN, CORE, NONE, POLL_0, POLL_1S, PUSH, RIVALS, Rival, get_stand
from tests.bench.turns import measure_by_turns
from tests.demo.site import DemoSite

#: Alone: what a request costs is then the reload, and as little else as Django can do.
BARE = {"BENCH_BARE": "1"}
UVICORN = {"BENCH_BARE": "1", "DEMO_CONN_MAX_AGE": "0"}
#: Core where a thread that takes a connection need not open one.
CORE_POOL = Rival("core, pool", {**CORE.env, "BENCH_POOL": "1"})
_LEAST_OF_NONE = Goal("≥ 0.98 of none", at_least=0.98)
_ABOUT_TRIVIAL = (
    "One worker, with no other middleware; a connection for each request, as this kind of "
    "worker has it."
)
_ABOUT_PAGE = (
    "One worker, the demo's middleware and templates, nothing cached; gthread with 4 threads "
    "and connections that are kept."
)
_ABOUT_ASYNC = (
    "One worker, with no other middleware; connections that are kept. Core runs in a thread of "
    "its own for each request, and that opens a database connection; with Django's pool (core, "
    "pool), it takes one that is open. The goal is about core with Django's defaults."
)

Samples = dict[str, list[float]]


def _measure(
    rivals: Sequence[Rival], path: str, scale: Scale, seconds: float, *, keep: bool, **options: Any
) -> Samples:
    """Return the requests a second, round by round. One worker, which never waits for work."""
    stand = get_stand()
    until = time.monotonic() + seconds
    with (
        Load() as load,
        stand.database() as dsn,
        stand.sites(rivals, dsn, **options) as sites,
    ):
        subjects = {
            name: _subject(load, site, path, 2 * options.get("threads", 1), keep)
            for name, site in sites.items()
        }
        for measure in subjects.values():
            measure(0.2)  # warm
        return measure_by_turns(subjects, scale, until)


def _subject(
    load: Load, site: DemoSite, path: str, connections: int, keep: bool
) -> Callable[[float], float]:
    def measure(seconds: float) -> float:
        order = Order(port_of(site.address), [path], seconds, connections, keep)
        answer = load.run(order)
        if set(answer.statuses) != {200}:
            raise RuntimeError(f"{path} was answered {answer.statuses}; {site.log_tail()}")
        return answer.rate

    return measure


def _figures(
    rates: Samples, goals: Mapping[tuple[str, str], Goal], where: str = ""
) -> list[Figure]:
    """Each pair that has a goal; then each rival beside none."""
    pairs = [*goals, *((name, "none") for name in rates if name != "none")]
    if "core, pool" in rates:
        pairs.append(("push", "core, pool"))
    return [
        Figure(f"{where}{one} / {other}", ratios(rates[one], rates[other]), "×", goals.get(pair))
        for pair in dict.fromkeys(pairs)
        for one, other in [pair]
    ]


def run_trivial(scale: Scale) -> Result:
    """Row 1."""
    rates = _measure(RIVALS, "/ping/", scale, scale.seconds, keep=False, env=BARE)
    goals = {
        ("push", "none"): _LEAST_OF_NONE,
        ("push", "core"): Goal("≥ 2 × core", at_least=2),
    }
    return _result(TRIVIAL, _figures(rates, goals), rates, _ABOUT_TRIVIAL)


def run_page(scale: Scale) -> Result:
    """Row 2."""
    rates, figures = {}, []
    for kind, threads in (("sync", 1), ("gthread", 4)):
        found = _measure(
            RIVALS, "/en/about/", scale, scale.seconds / 2,
            keep=kind == "gthread", worker_class=kind, threads=threads,
        )  # fmt: skip
        figures += _figures(found, {("push", "none"): _LEAST_OF_NONE}, f"{kind}: ")
        rates.update({f"{kind}: {name}": samples for name, samples in found.items()})
    return _result(PAGE, figures, rates, _ABOUT_PAGE)


def run_async(scale: Scale) -> Result:
    """Row 3."""
    rivals = (NONE, CORE, CORE_POOL, ALDRYN, PUSH, POLL_1S, POLL_0)
    rates = _measure(
        rivals, "/aping/", scale, scale.seconds, keep=True, server="uvicorn", env=UVICORN
    )
    goals = {
        ("push", "none"): Goal("≥ 0.97 of none", at_least=0.97),
        ("push", "core"): Goal("≥ 3 × core", at_least=3),
    }
    return _result(ASYNC, _figures(rates, goals), rates, _ABOUT_ASYNC)


def _result(measure: Measure, figures: Sequence[Figure], rates: Samples, note: str) -> Result:
    return Result(
        measure.number,
        measure.name,
        measure.title,
        figures,
        samples=rates,
        unit="requests/s",
        notes=[note],
    )


TRIVIAL = Measure(1, "trivial", "requests/s, trivial view, gunicorn sync", run_trivial)
PAGE = Measure(2, "page", "requests/s, small CMS page, gunicorn sync and gthread", run_page)
ASYNC = Measure(3, "async", "requests/s, async trivial view, uvicorn", run_async)
MEASURES = (TRIVIAL, PAGE, ASYNC)
