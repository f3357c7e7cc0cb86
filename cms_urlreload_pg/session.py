"""One connection in LISTEN, from its first statement to its loss: what is sent, what is read, and
by when an answer must be there. No thread, no loop and no clock; the listener gives it those.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import psycopg
from psycopg import sql
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

from cms_urlreload.conf import Settings
from cms_urlreload.state import State, Token

logger = logging.getLogger(__name__)

#: Seconds that a lease outlives the answer to the next heartbeat: the time to read it.
SLACK = 1.0
#: Seconds that a notification may come after the heartbeat that has seen its change already.
GRACE = 1.0
#: Shortest time, in seconds, between two heartbeats of a process that builds its URLs from a
#: replica: how often it is seen whether the replica has caught up.
CATCH_UP = 0.25


class SessionLost(Exception):  # noqa: N818  # an event more than an error
    """The connection is of no use any more. The message says why, for a log."""


@dataclass
class Counters:
    """What a process has heard, since its start."""

    notifications: int = 0
    heartbeats: int = 0
    #: Changes that a heartbeat found and nobody had announced.
    missed: int = 0


@dataclass
class Script:
    """What a session says."""

    #: Sent one after the other, each in a transaction of its own; the last one is LISTEN.
    opening: list[bytes]
    #: Returns the statement that reads the token, anew for each heartbeat.
    heartbeat: Callable[[], bytes]
    #: Notifications on other channels are none of ours.
    channel: bytes
    #: The payload of this process's own announcements.
    origin: bytes
    #: URLs are built from another database (a replica), which may lag behind the one listened to.
    reads_elsewhere: bool = False
    counters: Counters = field(default_factory=Counters)


class Session:
    """The protocol on one connection.

    It asks through ``PQsendQuery`` and reads what has come, so that it never waits: a peer that
    is gone without a word is found by the deadline, in the one thread that owns the connection.

    :param connection: in autocommit mode, and used by nobody else. In a transaction it would
        hear nothing, and hold up the notifications of the whole cluster.
    """

    def __init__(
        self, connection: psycopg.Connection, state: State, script: Script, settings: Settings
    ) -> None:
        self._pgconn = connection.pgconn
        self._pgconn.nonblocking = 1
        self._state = state
        self._script = script
        self._interval = settings.heartbeat_interval
        self._timeout = settings.heartbeat_timeout
        self._opening = deque(script.opening)
        self._asking: bytes | None = None
        self._answer: PGresult | None = None
        self._suspect_at: float | None = None
        self._heard = False
        #: A heartbeat was answered: the connection hears, and the lease runs.
        self.is_healthy = False
        #: When step() must be called next, at the latest.
        self.due = 0.0
        self._beat_at = 0.0
        self._beaten_at = 0.0
        self._beat_wanted = False

    @property
    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._pgconn.socket

    def want_beat(self) -> None:
        """Have the next heartbeat soon, before its time."""
        self._beat_wanted = True

    def step(self, now: float, readable: bool = False) -> None:
        """Do all that can be done without waiting.

        :param now: seconds, of the clock that the lease is counted by.
        :param readable: there is something to read on the socket.
        :raises SessionLost: if the connection is of no use any more.
        :raises psycopg.Error: likewise.
        """
        if readable:
            self._read(now)
        if self._asking is not None:
            if now >= self.due:
                raise SessionLost(f"no answer from the server within {self._timeout:g} seconds")
            return
        self._judge_suspect(now)
        if self._beat_wanted:
            self._beat_wanted = False
            soon = self._beaten_at + CATCH_UP if self._script.reads_elsewhere else now
            self._beat_at = min(self._beat_at, soon)
        if self._opening:
            self._ask(self._opening[0], now)
        elif now >= self._beat_at:
            self._ask(self._script.heartbeat(), now)
        else:
            self.due = min(self._beat_at, self._suspect_at or self._beat_at)

    def _ask(self, statement: bytes, now: float) -> None:
        self._asking = statement
        self._answer = None
        self.due = now + self._timeout
        self._pgconn.send_query(statement)
        # What does not go into the socket's buffer at once is sent by consume_input(); that so
        # little does not fit means a peer that has not read for long, and the deadline is right.
        self._pgconn.flush()

    def _read(self, now: float) -> None:
        self._pgconn.consume_input()
        while self._asking is not None and not self._pgconn.is_busy():
            result = self._pgconn.get_result()
            if result is None:
                self._answered(now)
            else:
                self._keep(result)
        self._hear()

    def _keep(self, result: PGresult) -> None:
        if result.status not in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK):
            raise SessionLost(result.get_error_message().strip())
        self._answer = result

    def _answered(self, now: float) -> None:
        self._asking = None
        if not self._opening:
            self._beaten(now)
            return
        self._opening.popleft()
        if not self._opening:
            # LISTEN is in force, and whatever came before it was not heard.
            self._state.mark_dirty()

    def _beaten(self, now: float) -> None:
        """A heartbeat's answer is there: the connection lives, and this is the truth."""
        self._script.counters.heartbeats += 1
        self._beaten_at = now
        self._beat_at = now + self._interval
        self._state.extend_lease(self._beat_at + self._timeout + SLACK)
        self.is_healthy = True
        if self._token() == self._state.applied:
            self._heard = False
        # A worker that builds from a replica comes here again for each look that it takes at one
        # that lags behind, until both agree.
        elif not self._state.dirty:
            self._state.mark_dirty()
            if not self._heard:
                self._suspect_at = now + GRACE

    def _token(self) -> Token:
        if self._answer is None or self._answer.ntuples != 1:
            raise SessionLost("the server answered a heartbeat with nothing")
        _, revision, digest = (self._answer.get_value(0, column) or b"" for column in range(3))
        return Token(revision.decode(), digest.decode())

    def _hear(self) -> None:
        heard = False
        while (notification := self._pgconn.notifies()) is not None:
            # Our own change is in this process already: its commit hook was faster.
            if notification.relname == self._script.channel:
                if notification.extra != self._script.origin:
                    heard = True
                self._heard = True
                self._suspect_at = None
        if heard:
            self._script.counters.notifications += 1
            self._state.mark_dirty()

    def _judge_suspect(self, now: float) -> None:
        """A change that a heartbeat saw: was it announced after all?"""
        if self._suspect_at is None or now < self._suspect_at:
            return
        self._suspect_at = None
        self._script.counters.missed += 1
        logger.warning(
            "A change of apphook URLs was found by the heartbeat, %g seconds late at most: nobody "
            "had announced it. Are the triggers in (manage.py check --database default)? Without "
            "them, what passes Django's signals by is found only so (SQL, queryset.update(), a "
            "move in the page tree); or its process died before it could tell.",
            self._interval,
        )


def listen_statement(channel: str) -> bytes:
    """Return LISTEN for a channel, quoted: else PostgreSQL folds its name to lower case."""
    return sql.SQL("LISTEN {}").format(sql.Identifier(channel)).as_bytes(None)
