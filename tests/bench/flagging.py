"""``python -m tests.bench.flagging``: a process that forks others which listen, and says when each
of them was told: by this package's listener, or by a bare connection.
"""

from __future__ import annotations

import mmap
import os
import select
import signal
import struct
import time
from collections.abc import Callable

import psycopg

from tests.bench.subject import serve
from tests.support.processes import die_with_parent
from tests.support.waiting import wait_until

#: Where the forked processes write the time at which they were told: eight bytes each, shared.
_board = mmap.mmap(-1, 8 * 256)
_children: list[int] = []


def _flag(place: int) -> None:
    struct.pack_into("q", _board, 8 * place, time.monotonic_ns())


def _times() -> list[int]:
    return list(struct.unpack_from(f"{len(_children)}q", _board))


def start(kind: str, count: int) -> None:
    """Fork processes that listen; return when all do."""
    listen = {"ours": _listen_ours, "bare": _listen_bare}[kind]
    if kind == "ours":
        import django

        # Once, before the fork: what is loaded is shared by all of them.
        django.setup()
    for place in range(count):
        _children.append(_fork(listen, place))
    wait_until(lambda: all(_times()), 60, "all processes to listen")


def _fork(listen: Callable[[int], None], place: int) -> int:
    struct.pack_into("q", _board, 8 * place, 0)
    parent_dies = die_with_parent(signal.SIGKILL)
    pid = os.fork()
    if pid:
        return pid
    try:
        if parent_dies is not None:
            parent_dies()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        listen(place)
    finally:
        os._exit(1)  # what belongs to the parent is left alone


def _listen_ours(place: int) -> None:
    from cms_urlreload.state import Reason, State
    from cms_urlreload_pg.transport import PostgresTransport

    class Flagged(State):
        """Says when it is put in doubt."""

        def mark_dirty(self, reason: Reason = "announced") -> None:
            super().mark_dirty(reason)
            if transport.is_healthy:
                _flag(place)

    transport = PostgresTransport(Flagged())
    transport.ensure_started()
    wait_until(lambda: transport.is_healthy, 60, "the listener")
    _flag(place)
    while True:
        signal.pause()


def _listen_bare(place: int) -> None:
    connection = psycopg.connect(os.environ["DEMO_DATABASE_URL"], autocommit=True)
    connection.execute("LISTEN apphooks")
    _flag(place)
    pgconn = connection.pgconn
    while True:
        select.select([pgconn.socket], [], [])
        pgconn.consume_input()
        while pgconn.notifies():
            _flag(place)


def told_since(begin: int) -> list[int]:
    """Return when each was told, once all were since ``begin`` (time.monotonic_ns)."""
    wait_until(lambda: min(_times()) > begin, 10, "all to be told", interval=0.002)
    return _times()


def stop() -> None:
    """End those that were forked."""
    while _children:
        pid = _children.pop()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    serve({"start": start, "told_since": told_since, "stop": stop})
