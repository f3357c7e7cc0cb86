"""Rows 1 to 3: how many requests a worker answers in a second, with each rival before it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
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
#: The same as none, in another process: how much two processes of the same thing differ.
AGAIN = Rival("none again", NONE.env)
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


class _Subject:
    """One rival's site, with one worker."""

    def __init__(
        self, load: Load, site: DemoSite, path: str, connections: int, *, keep: bool
    ) -> None:
        self._load = load
        self._site = site
        self._path = path
        self._connections = connections
        self._keep = keep
        #: The CPU time of the worker for a request, in milliseconds, turn by turn.
        self.cpu: list[float] = []

    def __call__(self, seconds: float) -> float:
        """Return requests a second."""
        (worker,) = self._site.workers
        port = port_of(self._site.address)
        before = _cpu_seconds(worker.pid)
        answer = self._load.run(
            Order(port, [self._path], seconds, self._connections, keep=self._keep)
        )
        if set(answer.statuses) != {200}:
            raise RuntimeError(f"{self._path}: {answer.statuses}; {self._site.log_tail()}")
        spent = _cpu_seconds(worker.pid) - before
        self.cpu.append(1000 * spent / len(answer.latencies))
        return answer.rate


def _cpu_seconds(pid: int) -> float:
    """What all threads of a process have had, those that have ended too. Linux only."""
    # The clock that clock_getcpuclockid(3) returns, of which Python has none.
    return time.clock_gettime((~pid << 3) | 2)


def _measure(
    rivals: Sequence[Rival], path: str, scale: Scale, seconds: float, *, keep: bool, **options: Any
) -> tuple[Samples, Samples]:
    """Return the requests a second, and the CPU of a request, round by round. One worker, which
    never waits for work."""
    stand = get_stand()
    until = time.monotonic() + seconds
    connections = 2 * options.get("threads", 1)
    with (
        Load() as load,
        stand.database() as dsn,
        stand.sites(rivals, dsn, **options) as sites,
    ):
        subjects = {
            name: _Subject(load, site, path, connections, keep=keep) for name, site in sites.items()
        }
        for subject in subjects.values():
            subject(0.2)  # warm
            subject.cpu.clear()
        rates = measure_by_turns(subjects, scale, until)
        return rates, {name: subject.cpu for name, subject in subjects.items()}


def _figures(
    rates: Samples, cpu: Samples, goals: Mapping[tuple[str, str], Goal], where: str = ""
) -> list[Figure]:
    """Each pair that has a goal; then each rival beside none; then what is less noisy."""
    pairs = [*goals, *((name, "none") for name in rates if name != "none")]
    if "core, pool" in rates:
        pairs.append(("push", "core, pool"))
    figures = [
        Figure(f"{where}{one} / {other}", ratios(rates[one], rates[other]), "×", goals.get(pair))
        for pair in dict.fromkeys(pairs)
        for one, other in [pair]
    ]
    return figures + [
        Figure(f"{where}CPU, {name} / none", ratios(cpu[name], cpu["none"]), "×")
        for name in ("push", "core")
    ]


def run_trivial(scale: Scale) -> Result:
    """Row 1."""
    rates, cpu = _measure((*RIVALS, AGAIN), "/ping/", scale, scale.seconds, keep=False, env=BARE)
    goals = {
        ("push", "none"): _LEAST_OF_NONE,
        ("push", "core"): Goal("≥ 2 × core", at_least=2),
    }
    return _result(TRIVIAL, _figures(rates, cpu, goals), rates, _ABOUT_TRIVIAL)


def run_page(scale: Scale) -> Result:
    """Row 2."""
    rates, figures = {}, []
    for kind, threads in (("sync", 1), ("gthread", 4)):
        found, cpu = _measure(
            (*RIVALS, AGAIN), "/en/about/", scale, scale.seconds / 2,
            keep=kind == "gthread", worker_class=kind, threads=threads,
        )  # fmt: skip
        figures += _figures(found, cpu, {("push", "none"): _LEAST_OF_NONE}, f"{kind}: ")
        rates.update({f"{kind}: {name}": samples for name, samples in found.items()})
    return _result(PAGE, figures, rates, _ABOUT_PAGE)


def run_async(scale: Scale) -> Result:
    """Row 3."""
    rivals = (NONE, CORE, CORE_POOL, ALDRYN, PUSH, POLL_1S, POLL_0, AGAIN)
    rates, cpu = _measure(
        rivals, "/aping/", scale, scale.seconds, keep=True, server="uvicorn", env=UVICORN
    )
    goals = {
        ("push", "none"): Goal("≥ 0.97 of none", at_least=0.97),
        ("push", "core"): Goal("≥ 3 × core", at_least=3),
    }
    return _result(ASYNC, _figures(rates, cpu, goals), rates, _ABOUT_ASYNC)


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
