"""Row 13: how many listeners one server carries: the time until all are told, and what the writer
waits for at its COMMIT."""

from __future__ import annotations

import re
import statistics
import threading
import time
from collections import defaultdict
from pathlib import Path

import psycopg

from tests.bench.ground import ground
from tests.bench.measure import Measure, Scale
from tests.bench.record import Figure, Result, Spread, ratios
from tests.bench.subject import Subject, environment

COUNTS = (1, 10, 100, 1_000)
#: Fewer than a session takes at once (hearing.HINTS_BURST).
MAX_ROUNDS = 45
#: Time for what a commit has set off to be over before the next.
QUIET = 0.05

_HOW = (
    "The sessions are this package's own (Session and Hearing, each with a state), all of them in "
    "one process with one selector, on a server on the same machine. A URL of an apphook page is "
    "updated; the clock runs from the COMMIT until the last session has put its state in doubt. "
    "That one process reads for all of them, which takes a part of it."
)
_FLOOR = (
    "The writer's COMMIT is measured by turns with one in another database of the server, in which "
    "nobody listens."
)

Samples = dict[str, list[float]]


def run(scale: Scale) -> Result:
    """Add sessions, and commit by turns with nobody listening, until the time is over."""
    counts = COUNTS[:3] if scale.quick else COUNTS
    curves: dict[str, list[tuple[float, float]]] = defaultdict(list)
    figures: list[Figure] = []
    samples: Samples = {}
    with ground().database(1) as dsn, ground().database(1) as silent:
        with (
            Subject("tests.bench.listening", environment(dsn, "ours")) as subject,
            psycopg.connect(dsn) as writer,
            psycopg.connect(silent) as alone,
        ):
            before = 0
            for count in counts:
                subject.ask("listen", count=count - before)
                before = count
                found = _measure(subject, writer, alone, scale.seconds / len(counts))
                figures += _figures(count, found)
                for name, values in found.items():
                    samples[f"{count:,} listeners, {name}"] = values
                    curves[name].append((count, statistics.median(values)))
            memory = _memory_of_backends(writer)
    if memory is not None:
        figures.append(Figure("memory of the server for a listener", memory, "MiB"))
    return Result(
        13,
        "listeners",
        "many listeners on one server",
        figures,
        samples,
        "ms",
        (_HOW, _FLOOR),
        curves,
        ("listeners", "ms"),
    )


def _figures(count: int, found: Samples) -> list[Figure]:
    name = f"{count:,} listeners" if count > 1 else "1 listener"
    commit = ratios(found["commit"], found["commit, nobody listens"])
    return [
        Figure(f"{name}: until all are flagged", Spread.of(found["all flagged"]), "ms"),
        Figure(f"{name}: the writer's COMMIT", Spread.of(found["commit"]), "ms"),
        Figure(f"{name}: COMMIT / nobody listens", commit, "×"),
    ]


def _measure(
    subject: Subject, writer: psycopg.Connection, alone: psycopg.Connection, seconds: float
) -> Samples:
    found: Samples = defaultdict(list)
    deadline = time.monotonic() + seconds
    number = 0
    while number < 5 or (time.monotonic() < deadline and number < MAX_ROUNDS // 4):
        threading.Event().wait(QUIET)
        _, took = _commit(alone, number)
        found["commit, nobody listens"].append(took)
        subject.tell("hear")
        threading.Event().wait(QUIET)
        began, took = _commit(writer, number)
        found["commit"].append(took)
        told = subject.answer()
        found["half flagged"].append((told["half"] - began) / 1e6)
        found["all flagged"].append((told["all"] - began) / 1e6)
        number += 1
    return found


def _commit(connection: psycopg.Connection, number: int) -> tuple[int, float]:
    """Return when the COMMIT began (time.monotonic_ns), and the milliseconds that it took."""
    path = f"news-{number}-{time.monotonic_ns()}"
    connection.execute("UPDATE cms_pageurl SET path = %s WHERE language = 'en'", (path,))
    began = time.monotonic_ns()
    connection.commit()
    return began, (time.monotonic_ns() - began) / 1e6


def _memory_of_backends(connection: psycopg.Connection) -> Spread | None:
    """Return the MiB of its own that a listener's backend has; None where Linux does not tell."""
    rows = connection.execute(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid()"
    ).fetchall()
    connection.commit()
    found = []
    for (pid,) in rows:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            return None
        found.append(sum(map(int, re.findall(r"^Private_\w+:\s+(\d+)", text, re.M))) / 1024)
    return Spread.of(found)


MEASURES = (Measure(13, "listeners", "many listeners on one server", run),)
