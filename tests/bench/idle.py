"""Row 10: what a worker costs that nobody asks anything, as the kernel tells of it. Linux only."""

from __future__ import annotations

import json
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.bench.measure import Measure, Scale
from tests.bench.record import Figure, Goal, Result, Spread
from tests.bench.stand import NONE, PUSH, Rival, get_stand
from tests.demo.site import DemoSite
from tests.support.waiting import wait_until

WORKERS = 2
#: Seconds to look on.
WATCH = 60.0
HEARTBEAT = 10.0
NEVER = 600
#: Seconds that it takes to start what is looked on.
START = 15.0
#: Push with a heartbeat that does not come while it is looked on.
SILENT = Rival(
    "between heartbeats",
    {**PUSH.env, "DEMO_CMS_URLRELOAD": json.dumps({"HEARTBEAT_INTERVAL": NEVER})},
    listens=True,
)


@dataclass(frozen=True)
class Thread:
    """What the kernel has counted of a thread: how often it went to sleep by itself and was woken,
    and the CPU that it had, in ticks and in milliseconds."""

    wakeups: int
    ticks: int
    milliseconds: float

    @classmethod
    def of_listener(cls, pid: int) -> Thread:
        """The only thread of a sync worker beside its main one."""
        (task,) = (
            path for path in Path(f"/proc/{pid}/task").iterdir() if path.name != str(pid)
        )  # fmt: skip
        status = dict(
            line.split(":", 1) for line in (task / "status").read_text().splitlines() if ":" in line
        )
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        nanoseconds = int((task / "schedstat").read_text().split()[0])
        return cls(
            int(status["voluntary_ctxt_switches"]),
            int(fields[11]) + int(fields[12]),
            nanoseconds / 1e6,
        )

    def since(self, other: Thread) -> Thread:
        return Thread(
            self.wakeups - other.wakeups,
            self.ticks - other.ticks,
            self.milliseconds - other.milliseconds,
        )


def run(scale: Scale) -> Result:
    """Look on three sites at the same time."""
    stand = get_stand()
    with ExitStack() as stack:
        sites = {
            rival.name: stack.enter_context(
                stand.site(rival, stack.enter_context(stand.database()), workers=WORKERS)
            )
            for rival in (NONE, PUSH, SILENT)
        }
        for site in sites.values():
            _visit(site)
        seconds = max(2.0, min(WATCH, scale.seconds - START))
        silent, push = _look_on([sites[SILENT.name], sites[PUSH.name]], seconds)
        memory = {name: _memory(site) for name, site in sites.items()}
    return _result(seconds, silent, push, memory)


def _visit(site: DemoSite) -> None:
    """What is needed once is there afterwards."""
    for worker in site.workers:
        for path in ("/ping/", "/en/", "/en/about/", "/en/news/first-story/") * 3:
            site.get(path, worker)


def _look_on(sites: list[DemoSite], seconds: float) -> list[list[Thread]]:
    """What the listeners of each site do in the time, after a while in which they settle."""

    def state() -> list[list[Thread]]:
        return [[Thread.of_listener(worker.pid) for worker in site.workers] for site in sites]

    def is_quiet() -> bool:
        before = state()
        threading.Event().wait(2)
        return state()[0] == before[0]

    wait_until(is_quiet, 30, "the listeners to have nothing to do")
    before = state()
    started = time.monotonic()
    # Nobody is asked anything: the time is what is measured.
    threading.Event().wait(seconds - (time.monotonic() - started))
    return [
        [new.since(old) for new, old in zip(news, olds, strict=True)]
        for news, olds in zip(state(), before, strict=True)
    ]


def _memory(site: DemoSite) -> dict[str, list[float]]:
    """In MiB, of each worker: proportional, and its own alone."""
    found: dict[str, list[float]] = {"PSS": [], "private": []}
    for worker in site.workers:
        text = Path(f"/proc/{worker.pid}/smaps_rollup").read_text()
        sizes = dict(line.split()[:2] for line in text.splitlines()[1:])
        found["PSS"].append(int(sizes["Pss:"]) / 1024)
        own = int(sizes["Private_Clean:"]) + int(sizes["Private_Dirty:"])
        found["private"].append(own / 1024)
    return found


def _result(
    seconds: float,
    silent: list[Thread],
    push: list[Thread],
    memory: dict[str, dict[str, list[float]]],
) -> Result:
    beats = seconds / HEARTBEAT
    figures = [
        Figure("wake-ups between heartbeats", _spread(silent, "wakeups"), "", _zero()),
        Figure(f"CPU in {seconds:.0f} s, silent", _spread(silent, "ticks"), "ticks", _zero()),
        Figure(f"CPU in {seconds:.0f} s", _spread(push, "milliseconds"), "ms", _TICK),
        Figure("CPU of a heartbeat", _spread(push, "milliseconds", beats), "ms"),
        Figure("wake-ups of a heartbeat", _spread(push, "wakeups", beats), ""),
        *(
            Figure(f"memory over none, {kind}", _over(memory, kind), "MiB", goal)
            for kind, goal in (("PSS", Goal("≤ 3 MiB", at_most=3)), ("private", None))
        ),
    ]
    samples = {name: sizes["PSS"] for name, sizes in memory.items()}
    notes = [
        f"{WORKERS} gunicorn workers each; a heartbeat every {HEARTBEAT:.0f} seconds.",
        _ABOUT_TICKS,
    ]
    return Result(10, IDLE.name, IDLE.title, figures, samples=samples, unit="MiB", notes=notes)


_ABOUT_TICKS = (
    "A tick, of 10 ms, is the least that /proc/<pid>/stat shows. What heartbeats need in a minute "
    "is less; now and then it is theirs that fills one."
)
_TICK = Goal("0, less than a tick", at_most=10)


def _zero() -> Goal:
    return Goal("0", at_most=0)


def _spread(threads: list[Thread], what: str, share: float = 1) -> Spread:
    return Spread.of([getattr(thread, what) / share for thread in threads])


def _over(memory: dict[str, dict[str, list[float]]], kind: str) -> Spread:
    pairs = zip(memory[PUSH.name][kind], memory[NONE.name][kind], strict=True)
    return Spread.of([push - none for push, none in pairs])


IDLE = Measure(10, "idle", "an idle worker", run)
MEASURES = (IDLE,)
