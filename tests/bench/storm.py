"""Row 9: ten real changes a second, while eight threads answer requests to 100 apphook pages."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field

import psycopg

from tests.bench.load import Answer, Load, Order, port_of
from tests.bench.measure import Measure, Scale
from tests.bench.record import Figure, Goal, Result, Spread, ratios
from tests.bench.stand import CORE, PUSH, get_stand
from tests.bench.turns import turns
from tests.demo.site import DemoSite

PAGES = 100
THREADS = 8
#: Changes a second.
RATE = 10
#: Seconds after a commit by which what is answered must be of the new state.
BOUND = 1.0
#: Seconds between two looks at whether it is.
PAUSE = 0.02
#: Pages that change: each of them less often than the bound.
MOVED = 20
#: What is asked for all the time. None of these changes.
PATHS = [f"/en/bench-{number}/hello/" for number in range(MOVED, PAGES)]
#: What the admin does beside the change of the URL, and what core looks at.
_BUMP = "UPDATE cms_urlconfrevision SET revision = gen_random_uuid()::text"
_FIRST = "INSERT INTO cms_urlconfrevision VALUES (1, '') ON CONFLICT DO NOTHING"
_MOVE = (
    "UPDATE cms_pageurl SET path = %s WHERE language = 'en' AND page_id = "
    "(SELECT id FROM cms_page WHERE application_namespace = %s)"
)
_ABOUT = (
    f"One gthread worker with {THREADS} threads, {PAGES} apphook pages beside the demo's; {RATE} "
    "commits a second, by SQL."
)
_WRONG = (
    "Wrong: a URL that does not change and is not answered 200, or a new one that is not answered "
    f"{BOUND:g} s after its commit."
)


@dataclass
class Phase:
    """What a site did in one turn."""

    rate: float
    #: In seconds.
    p99: float
    #: Answers of a URL that does not change, other than 200.
    wrong: int
    #: From each commit until the new URL was answered, in seconds.
    delays: list[float] = field(default_factory=list)


class Changer:
    """Moves one page after the other, and asks the site for each at its new URL."""

    def __init__(self, site: DemoSite, dsn: str) -> None:
        self._site = site
        self._dsn = dsn
        self._number = 0

    def run(self, seconds: float) -> list[float]:
        """Make changes for some seconds; return how long it took until each was answered."""
        with (
            ThreadPoolExecutor(MOVED) as pool,
            psycopg.connect(self._dsn, autocommit=True) as connection,
        ):
            changed = [
                pool.submit(self._delay, self._change(connection), time.monotonic())
                for _ in _ticks(seconds)
            ]
            return [delay.result() for delay in changed]

    def look(self, seconds: float) -> None:
        """Ask as often as changes are made, and change nothing."""
        for _ in _ticks(seconds):
            self._status(PATHS[0])

    def _change(self, connection: psycopg.Connection) -> str:
        self._number += 1
        page = f"bench-{self._number % MOVED}"
        path = f"{page}-{self._number}"
        with connection.transaction():
            connection.execute(_MOVE, (path, page))
            connection.execute(_BUMP)
        return f"/en/{path}/hello/"

    def _delay(self, path: str, since: float) -> float:
        """Seconds until the URL is answered; the bound, if it is not until then."""
        pause = threading.Event()
        while self._status(path) != 200:
            if time.monotonic() - since >= BOUND:
                return BOUND
            pause.wait(PAUSE)
        return min(BOUND, time.monotonic() - since)

    def _status(self, path: str) -> int:
        return self._site.get(path).status


def _ticks(seconds: float) -> Iterator[None]:
    """Go on at the times at which changes are made."""
    tick = threading.Event()
    started = time.monotonic()
    for number in range(int(seconds * RATE)):
        tick.wait(started + number / RATE - time.monotonic())
        yield


class Subject:
    """One rival's site, asked all the time, in quiet and in a storm."""

    def __init__(self, site: DemoSite, dsn: str, load: Load) -> None:
        self._port = port_of(site.address)
        self._changer = Changer(site, dsn)
        self._load = load
        self.quiet: list[Phase] = []
        self.storm: list[Phase] = []

    def turn(self, seconds: float) -> None:
        """One after the other, for so many seconds each."""
        self.quiet.append(self._phase(seconds, storm=False))
        self.storm.append(self._phase(seconds, storm=True))

    def _phase(self, seconds: float, *, storm: bool) -> Phase:
        self._load.begin(Order(self._port, PATHS, seconds, THREADS, keep=True))
        delays = []
        if storm:
            delays = self._changer.run(seconds)
        else:
            self._changer.look(seconds)
        return _phase(self._load.finish(), delays)


def _phase(answer: Answer, delays: list[float]) -> Phase:
    p99 = statistics.quantiles(answer.latencies, n=100)[98]
    wrong = sum(count for status, count in answer.statuses.items() if status != 200)
    return Phase(answer.rate, p99, wrong, delays)


def run(scale: Scale) -> Result:
    """Push and core by turns; each of them quiet and in the storm by turns."""
    stand = get_stand()
    until = time.monotonic() + scale.seconds
    with ExitStack() as stack:
        load = stack.enter_context(Load())
        subjects: dict[str, Subject] = {}
        for rival in (PUSH, CORE):
            dsn = stack.enter_context(stand.database(PAGES))
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute(_FIRST)
            site = stack.enter_context(
                stand.site(rival, dsn, worker_class="gthread", threads=THREADS)
            )
            subjects[rival.name] = Subject(site, dsn, load)
            subjects[rival.name].turn(0.3)  # warm
        left = scale.rounds * len(subjects)
        for order in turns(list(subjects), scale.rounds):
            for name in order:
                subjects[name].turn(max(1.0, (until - time.monotonic()) / left / 2))
                left -= 1
    return _result(subjects)


def _result(subjects: dict[str, Subject]) -> Result:
    figures: list[Figure] = []
    samples: dict[str, list[float]] = {}
    for name, subject in subjects.items():
        quiet, storm = subject.quiet[1:], subject.storm[1:]
        goals = _GOALS if name == "push" else (None, None, None)
        figures += _figures(name, quiet, storm, goals)
        samples[f"{name}, quiet"] = [phase.rate for phase in quiet]
        samples[f"{name}, storm"] = [phase.rate for phase in storm]
    return Result(
        9,
        STORM.name,
        STORM.title,
        figures,
        samples=samples,
        unit="requests/s",
        notes=[_ABOUT, _WRONG],
    )


_GOALS = (
    Goal("≥ 0.8 of quiet", at_least=0.8),
    Goal("≤ 2 × quiet", at_most=2),
    Goal("0", at_most=0),
)


def _figures(
    name: str, quiet: list[Phase], storm: list[Phase], goals: tuple[Goal | None, ...]
) -> list[Figure]:
    delays = [delay for phase in storm for delay in phase.delays]
    late = sum(delay >= BOUND for delay in delays)
    wrong = sum(phase.wrong for phase in quiet + storm) + late
    rates = ratios([phase.rate for phase in storm], [phase.rate for phase in quiet])
    p99 = ratios([phase.p99 for phase in storm], [phase.p99 for phase in quiet])
    return [
        Figure(f"{name}: requests/s, storm / quiet", rates, "×", goals[0]),
        Figure(f"{name}: p99, storm / quiet", p99, "×", goals[1]),
        Figure(f"{name}: wrong, {len(delays):,} changes", Spread.of([wrong]), "", goals[2]),
        Figure(
            f"{name}: commit to the new URL's answer",
            Spread.of([1000 * delay for delay in delays]),
            "ms",
        ),
    ]


STORM = Measure(9, "storm", "10 changes a second, 100 apphook pages, 8 threads", run)
MEASURES = (STORM,)
