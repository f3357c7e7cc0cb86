"""One connection in LISTEN, from its first statement to its loss: what is sent, what is read, and
by when an answer must be there. No thread, no loop and no clock; the listener gives it those.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import psycopg
from psycopg import sql
from psycopg.pq import DiagnosticField, ExecStatus
from psycopg.pq.abc import PGresult

from cms_urlreload.conf import Settings
from cms_urlreload.state import State, Token

from .hearing import Announced, Counters, Hearing
from .schemas import TO_OTHER_TABLES, Schemas

#: Seconds that a lease outlives the deadline of the next heartbeat: the time to send that, and to
#: read its answer.
SLACK = 1.0
#: Seconds after which a process that is in doubt, because nobody asks it anything, shows so.
SHOW_DOUBT = 1.0
#: Seconds until it is shown what is served anew: the request that it was built for comes first.
SHOW_SERVED = 0.05
#: Shortest time, in seconds, between two heartbeats of a process that builds its URLs from a
#: replica: how often it is seen whether the replica has caught up.
CATCH_UP = 0.25

_UNDEFINED_TABLE = b"42P01"


class SessionLost(Exception):  # noqa: N818  # an event more than an error
    """The connection is of no use any more. The message says why, for a log."""


class NoAnswer(SessionLost):
    """The server has said nothing in time."""


class NotDelivered(SessionLost):
    """The connection accepts a LISTEN, and then does not deliver."""


@dataclass
class Script:
    """What a session says."""

    #: A channel of this session's own, which somebody else notifies to prove that it hears.
    probe_channel: str
    #: Sent after that one after the other, each in a transaction of its own; the last is LISTEN.
    opening: list[bytes]
    #: Returns the statement that reads the schema in which the pages are found, and the token; and
    #: that shows what is served and whether that is in doubt. Made anew for each heartbeat.
    heartbeat: Callable[[bool], bytes]
    #: Notifications on other channels are none of ours.
    channel: bytes
    #: The announcements of this process.
    announced: Announced
    #: The schemas in which requests of this process find the pages.
    schemas: Schemas
    #: URLs are built from another database (a replica), which may lag behind the one listened to.
    reads_elsewhere: bool = False
    counters: Counters = field(default_factory=Counters)


class Session:
    """The protocol on one connection.

    First it proves that it hears. It says nothing before that which would be of harm behind a
    pooler, where it is said to a connection that somebody else uses next. Then it listens, and
    sends a heartbeat from time to time.

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
        self._opening = deque([listen_statement(script.probe_channel)])
        self._asking: bytes | None = None
        self._answer: PGresult | None = None
        self._asked_at = 0.0
        self._deadline = 0.0
        self._is_probing = False
        self._is_deaf = False
        self._hearing = Hearing(state, script.counters, settings.heartbeat_interval)
        #: What was notified by somebody else has arrived.
        self.is_proved = False
        #: How many heartbeats were answered.
        self.heartbeats = 0
        self._beat_at = 0.0
        self._beaten_at = 0.0
        self._beat_wanted = False
        #: Whether the fleet is shown that this process is in doubt.
        self.shows_doubt = False

    @property
    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._pgconn.socket

    @property
    def due(self) -> float:
        """When step() must be called next, at the latest."""
        return min(self._hearing.due, self._deadline if self._is_waiting else self._beat_at)

    @property
    def _is_waiting(self) -> bool:
        """Whether something must arrive before the deadline."""
        return self._asking is not None or self._is_probing

    @property
    def wants_probe(self) -> bool:
        """Whether it is time for somebody else to notify the channel of the probe."""
        return not (self.is_proved or self._is_probing or self._is_deaf or self._opening)

    def probe_sent(self, now: float) -> None:
        """Take note that somebody else has notified the channel of the probe."""
        self._is_probing = True
        self._deadline = now + self._timeout

    def want_beat(self) -> None:
        """Have the next heartbeat soon, before its time."""
        self._beat_wanted = True

    def step(self, now: float, readable: bool = False) -> None:
        """Do all that can be done without waiting.

        An answer that is read after its deadline is a loss, also if it has been in the socket for
        long: this thread stood still, and the path may be dead since.

        :param now: seconds, of the clock that the lease is counted by. If the thread stands still
            after it was read, the lease ends the earlier.
        :param readable: there is something to read on the socket.
        :raises NotDelivered: if the connection listens in vain.
        :raises SessionLost: if it is of no use any more for another reason.
        :raises psycopg.Error: likewise.
        """
        if self._is_waiting and now >= self._deadline:
            self._overdue(now, readable)
            return
        if readable:
            self._read(now)
        self._hearing.step(now)
        if self._is_waiting:
            return
        if self._opening:
            self._ask(self._opening[0], now)
        elif self.is_proved:
            self._beat(now)

    def _overdue(self, now: float, readable: bool) -> None:
        if self._is_deaf:
            raise self._not_delivered()
        if readable:
            raise SessionLost(f"an answer of the server was read after {self._timeout:g} seconds")
        if not self._is_probing:
            raise NoAnswer(f"no answer from the server within {self._timeout:g} seconds")
        # What was listened to behind a pooler stays so, on a connection that others use.
        self._is_probing = False
        self._is_deaf = True
        self._ask(b"UNLISTEN *", now)

    def _not_delivered(self) -> NotDelivered:
        return NotDelivered(
            "what another connection notified has not arrived on the listener's within "
            f"{self._timeout:g} seconds"
        )

    def _beat(self, now: float) -> None:
        if self._beat_wanted:
            self._beat_wanted = False
            elsewhere = self._script.reads_elsewhere
            soon = self._beaten_at + CATCH_UP if elsewhere else now + SHOW_SERVED
            self._beat_at = min(self._beat_at, soon)
        if self._state.dirty != self.shows_doubt:
            # Before that, a request looks, as a rule, and then there is something else to show.
            self._beat_at = min(self._beat_at, now + SHOW_DOUBT)
        if now >= self._beat_at:
            self.shows_doubt = self._state.dirty
            self._ask(self._script.heartbeat(self.shows_doubt), now)

    def _ask(self, statement: bytes, now: float) -> None:
        self._asking = statement
        self._answer = None
        self._asked_at = now
        self._deadline = now + self._timeout
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
        self._hear(now)

    def _keep(self, result: PGresult) -> None:
        if result.status not in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK):
            raise SessionLost(_trouble(result))
        self._answer = result

    def _answered(self, now: float) -> None:
        self._asking = None
        if self._is_deaf:
            raise self._not_delivered()
        if not self._opening:
            self._beaten(now)
            return
        self._opening.popleft()
        if self.is_proved and not self._opening:
            # LISTEN is in force, and whatever came before it was not heard.
            self._state.mark_dirty("listening")

    def _beaten(self, now: float) -> None:
        """A heartbeat's answer is there: the connection lives, and this is the truth."""
        token = self._token()
        self._beaten_at = now
        # From when it was sent: what was committed later may not have been heard.
        self._beat_at = self._asked_at + self._interval
        self._state.extend_lease(self._beat_at + self._timeout + SLACK)
        self.heartbeats += 1
        self._hearing.beaten(token, now)

    def _token(self) -> Token:
        if self._answer is None or self._answer.ntuples != 1:
            raise SessionLost("the server answered a heartbeat with nothing")
        row = [self._answer.get_value(0, column) or b"" for column in range(3)]
        schema, revision, digest = (value.decode() for value in row)
        trouble = self._script.schemas.trouble_with(schema)
        if trouble is not None:
            raise SessionLost(trouble)
        return Token(revision, digest)

    def _hear(self, now: float) -> None:
        while (notification := self._pgconn.notifies()) is not None:
            if notification.relname == self._script.channel:
                number, _, reason = notification.extra.partition(b" ")
                by_us = self._script.announced.was_ours(number)
                self._hearing.notified(now, by_us, reason == b"asked")
            elif notification.relname == self._script.probe_channel.encode() and self._is_probing:
                self._prove()

    def _prove(self) -> None:
        self._is_probing = False
        self.is_proved = True
        goodbye = _unlisten_statement(self._script.probe_channel)
        self._opening.extend([goodbye, *self._script.opening])


def _trouble(result: PGresult) -> str:
    message = result.get_error_message().strip()
    if result.error_field(DiagnosticField.SQLSTATE) == _UNDEFINED_TABLE:
        # Not the server's lines of SQL.
        primary = result.error_field(DiagnosticField.MESSAGE_PRIMARY) or b""
        return f"{primary.decode(errors='replace')}; {TO_OTHER_TABLES}"
    return message


def listen_statement(channel: str) -> bytes:
    """Return LISTEN for a channel, quoted: else PostgreSQL folds its name to lower case."""
    return sql.SQL("LISTEN {}").format(sql.Identifier(channel)).as_bytes(None)


def _unlisten_statement(channel: str) -> bytes:
    return sql.SQL("UNLISTEN {}").format(sql.Identifier(channel)).as_bytes(None)
