"""``python -m tests.bench.listening``: one process with hundreds of sessions in LISTEN. Each is
what the listener of a worker has: its protocol, and a state of its own.
"""

from __future__ import annotations

import os
import selectors
import time
from typing import Any, NamedTuple

import django
import psycopg

from tests.bench.subject import serve


class Worker(NamedTuple):
    """A connection and what it puts in doubt."""

    connection: psycopg.Connection
    state: Any
    session: Any
    probe_channel: str


_workers: list[Worker] = []
_selector = selectors.DefaultSelector()


def listen(count: int) -> None:
    """Have so many sessions more; return when each has proved that it hears, and has beaten."""
    new = [_connect() for _ in range(count)]
    _go_on(lambda: all(worker.session.wants_probe for worker in new))
    for worker in new:
        worker.session.probe_sent(time.monotonic())
    # One notification each, in one transaction: each commit with one wakes all who listen.
    with psycopg.connect(os.environ["DEMO_DATABASE_URL"]) as connection:
        channels = [worker.probe_channel for worker in new]
        connection.execute("SELECT pg_notify(c, '') FROM unnest(%s::text[]) AS c", (channels,))
    _go_on(lambda: all(worker.session.heartbeats for worker in new))


def _connect() -> Worker:
    from cms_urlreload.conf import Settings
    from cms_urlreload.state import State
    from cms_urlreload_pg.session import Session
    from cms_urlreload_pg.transport import PostgresTransport

    connection = psycopg.connect(os.environ["DEMO_DATABASE_URL"], autocommit=True)
    state = State()
    script = PostgresTransport(state)._script(connection)
    # One heartbeat, and no other while it is measured.
    settings = Settings(heartbeat_interval=3600, heartbeat_timeout=60)
    session = Session(connection, state, script, settings)
    worker = Worker(connection, state, session, script.probe_channel)
    _workers.append(worker)
    _selector.register(session.fileno, selectors.EVENT_READ, worker)
    session.step(time.monotonic())
    return worker


def _go_on(until: Any, seconds: float = 60) -> None:
    """Let the sessions read what comes."""
    deadline = time.monotonic() + seconds
    while not until():
        if time.monotonic() > deadline:
            raise TimeoutError("the sessions got no further")
        for key, _ in _selector.select(1):
            key.data.session.step(time.monotonic(), readable=True)


def hear() -> dict[str, int]:
    """Wait until all sessions are told of a change; return when half of them were, and all."""
    for worker in _workers:
        worker.state.settle(worker.state.marks)
    told: list[int] = []
    while len(told) < len(_workers):
        for key, _ in _selector.select(10):
            worker = key.data
            was_told = worker.state.dirty
            worker.session.step(time.monotonic(), readable=True)
            if worker.state.dirty and not was_told:
                told.append(time.monotonic_ns())
    return {"half": told[(len(told) - 1) // 2], "all": told[-1]}


if __name__ == "__main__":
    django.setup()
    serve({"listen": listen, "hear": hear})
