"""Row 11: what 100 idle workers have the server do, by pg_stat_statements."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from typing import Any

import psycopg

from tests.bench.measure import Measure, Scale
from tests.bench.record import Figure, Goal, Result, Spread
from tests.bench.stand import environment, get_stand
from tests.demo.site import ROOT
from tests.support.waiting import wait_until

WORKERS = 100
#: Seconds that it takes to start them all.
START = 12.0
DEFAULT_INTERVAL = 10.0
#: Seconds without a heartbeat, between those of one turn and of the next.
QUIET = 0.5

_WORK = (
    "SELECT coalesce(sum(calls), 0)::bigint, coalesce(sum(total_exec_time), 0) "
    "FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid "
    "WHERE datname = current_database() AND query NOT LIKE '%pg_stat_statements%'"
)


class Listeners:
    """The process that listens a hundred times."""

    def __init__(self, dsn: str, interval: float) -> None:
        env = environment(dsn, {"DEMO_CMS_URLRELOAD": json.dumps({"HEARTBEAT_INTERVAL": interval})})
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.listeners_process", str(WORKERS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **env},
        )
        self._read()

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the process with the listeners ended")
        return line.strip()

    def heartbeats(self) -> int:
        """How many they have had, all together."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._read())

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        finally:
            self._process.kill()


def run(scale: Scale) -> Result:
    """Count between two moments at which none of them says anything."""
    interval = max(3.0, (scale.seconds - START) / (scale.rounds + 1))
    stand = get_stand()
    with stand.database() as dsn, psycopg.connect(dsn, autocommit=True) as connection:
        listeners = Listeners(dsn, interval)
        try:
            turns = _count(connection, listeners, scale.rounds, interval)
        finally:
            listeners.end()
    return _result(turns)


def _count(
    connection: psycopg.Connection[Any], listeners: Listeners, rounds: int, interval: float
) -> list[tuple[float, float]]:
    """Of each round: statements, and milliseconds of the server, for a heartbeat of each."""
    turns = []
    beats, calls, milliseconds = _look(connection, listeners, interval, at_least=WORKERS)
    for _ in range(rounds):
        old = beats, calls, milliseconds
        beats, calls, milliseconds = _look(
            connection, listeners, interval, at_least=beats + WORKERS
        )
        share = (beats - old[0]) / WORKERS
        turns.append(((calls - old[1]) / share, (milliseconds - old[2]) / share))
    return turns


def _look(
    connection: psycopg.Connection[Any], listeners: Listeners, interval: float, *, at_least: int
) -> tuple[int, int, float]:
    """Wait until there were so many heartbeats, and then none for a moment; what was done."""

    def is_quiet() -> bool:
        before = listeners.heartbeats()
        threading.Event().wait(QUIET)
        return before >= at_least and listeners.heartbeats() == before

    wait_until(is_quiet, 3 * interval + 30, "a moment without a heartbeat")
    row = connection.execute(_WORK).fetchone()
    assert row is not None
    beats = listeners.heartbeats()
    return beats, int(row[0]), float(row[1])


def _result(turns: list[tuple[float, float]]) -> Result:
    calls = [calls for calls, _ in turns]
    milliseconds = [milliseconds for _, milliseconds in turns]
    polls = WORKERS * DEFAULT_INTERVAL
    goal = Goal("≤ 100", at_most=100)
    figures = [
        Figure("statements a heartbeat, 100 workers", Spread.of(calls), "", goal),
        Figure("the server's time for them", Spread.of(milliseconds), "ms"),
        Figure("push, idle / poll 1 s, busy", Spread.of([n / polls for n in calls]), "×"),
    ]
    notes = [
        "One process with 100 listeners, each with its own thread, state and connection.",
        f"100 workers that poll once a second: {polls:,.0f} in the 10 seconds of a heartbeat.",
        "Core: one for each request.",
    ]
    samples = {"statements": calls}
    return Result(
        11, HEARTBEATS.name, HEARTBEATS.title, figures, samples=samples, unit="statements",
        notes=notes,
    )  # fmt: skip


HEARTBEATS = Measure(11, "heartbeats", "the server's work for 100 idle workers", run)
MEASURES = (HEARTBEATS,)
