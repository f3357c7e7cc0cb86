"""The transport for PostgreSQL: NOTIFY after a commit, a listener thread in each process that
answers requests, and polling whenever that thread cannot vouch for what it hears.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any

import psycopg
from cms.models import PageUrl
from django.db import connections, router
from psycopg import sql

from cms_urlreload.conf import Settings, get_settings
from cms_urlreload.fleet import Finding, Worker
from cms_urlreload.state import Reason, State, Token
from cms_urlreload.transports import Transport

from .address import alias_parameters, application_name, listener_parameters, role
from .hearing import Announced, Counters
from .listener import Listener
from .probe import Probe, probe_channel
from .refusal import refusal
from .schemas import Schemas
from .session import Script, listen_statement
from .token_sql import schema_sql, token_sql


class PostgresTransport(Transport):
    """Pushes. One for each process."""

    def __init__(self, state: State) -> None:
        super().__init__(state, "the listener has not connected yet.")
        self._counters = Counters()
        self._lock = threading.Lock()
        self._listener: Listener | None = None
        self._stopped = False
        self._announced = Announced()
        self._schemas = Schemas()

    def ensure_started(self) -> None:
        """Start the listener's thread, if there is none that runs, and if it may run here."""
        if self._listener is not None and self._listener.is_alive():
            return
        refused = refusal(get_settings())
        if refused is not None:
            self.mode.poll(*refused)
            if not refused.is_meant:
                self.state.begin_to_hear(time.monotonic())
            return
        self.state.begin_to_hear(time.monotonic())
        with self._lock:
            if self._stopped or (self._listener is not None and self._listener.is_alive()):
                return  # another thread was faster
            self._start()

    def _start(self) -> None:
        if self._listener is not None and not self._listener.is_ours:
            self._listener.abandon()  # after a fork that ran no hooks
        self._listener = None
        try:
            listener = Listener(
                self.state,
                get_settings(),
                self._connect,
                self._connect_probe,
                self._script,
                self.mode,
            )
            listener.start()
        except (RuntimeError, OSError) as error:
            # mod_wsgi with a GIL for each interpreter has no daemon threads, for one.
            self.mode.poll(f"no thread can be started to listen ({error}).")
            return
        self._listener = listener

    def lapsed(self) -> None:
        """Tell of a thread that lives, has a connection, and has proved nothing for too long."""
        # In this order: a lease is extended before the first health is seen.
        if self.is_healthy and time.monotonic() >= self.state.lease_until:
            self.mode.poll(
                "the listener's thread has not proved its connection in time.",
                "It hangs, or gets no CPU, or this process was stopped for a while. When it goes "
                "on, it says so.",
            )

    def unheard_for(self, now: float) -> float | None:
        """Return for how many seconds no heartbeat vouches for the listener; None before it is
        started, and where it may not be, on purpose."""
        refused = refusal(get_settings())
        return None if refused is not None and refused.is_meant else self.state.unheard_for(now)

    def counters(self) -> dict[str, int]:
        """Return what was heard: ``notifications``, ``heartbeats`` and ``missed``, the changes
        that a heartbeat found and nobody had announced."""
        return asdict(self._counters)

    @property
    def is_healthy(self) -> bool:
        """Whether the listener hears, as far as is known."""
        return self._listener is not None and self._listener.is_healthy

    def announce(self, alias: str, reason: Reason = "own") -> None:
        """Send the notification, on the connection that has just committed."""
        connection = connections[alias]
        if connection.vendor != "postgresql":
            return
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT /* cms-urlreload announce */ pg_notify(%s, %s)",
                [get_settings().channel, f"{self._announced.new()} {reason}"],
            )

    def refreshed(self, changed: bool) -> None:
        """Have the listener say, in its application_name, what this process serves now; and if
        that was read from a replica, compare it with the truth."""
        if self._listener is None:
            return
        if changed or _reads_elsewhere():
            self._listener.beat()
        else:
            self._listener.settled()

    def read_token(self, alias: str) -> Token:
        """Read the token as one short row."""
        connection = connections[alias]
        if connection.vendor != "postgresql":
            return super().read_token(alias)
        statement, parameters = token_sql(alias)
        with connection.cursor() as cursor:
            # For those who read the server's log or statistics: whose statement this is.
            cursor.execute(
                f"SELECT /* cms-urlreload token */ t.*, {schema_sql(alias)} "  # noqa: S608
                f"FROM ({statement}) AS t",
                parameters,
            )
            revision, digest, schema = cursor.fetchone()
        self._schemas.found(alias, schema)
        return Token(revision, digest)

    def fleet(self) -> list[Worker]:
        """Read from pg_stat_activity who listens, on all hosts, and what they serve."""
        with connections[router.db_for_write(PageUrl)].cursor() as cursor:
            # A role without pg_read_all_stats sees the name of other roles' sessions, and not
            # since when they are there.
            cursor.execute(
                "SELECT /* cms-urlreload fleet */ application_name, backend_start "
                "FROM pg_stat_activity WHERE datname = current_database() "
                "AND application_name LIKE 'cms-urlreload %'"
            )
            rows = cursor.fetchall()
        # Anybody may call a session so; what is not of that form is none of ours.
        found = ((_FLEET_NAME.fullmatch(name), since) for name, since in rows)
        workers = [_worker(match, since) for match, since in found if match is not None]
        return sorted(workers, key=lambda worker: (worker.host, worker.pid))

    def examine(self, settings: Settings) -> Iterable[Finding]:
        """Connect as the listener would, and see what comes."""
        from .examination import examine  # by hand, in few processes

        return examine(settings, router.db_for_write(PageUrl))

    def stop(self) -> None:
        """Stop the listener's thread, for good."""
        with self._lock:
            self._stopped = True
            if self._listener is not None:
                self._listener.stop()

    def abandon(self) -> None:
        """In a forked child: have no listener. The next request starts one."""
        self._lock = threading.Lock()
        if self._listener is not None:
            self._listener.abandon()
            self._listener = None

    # From here on: called by the listener's thread.

    def _connect(self) -> psycopg.Connection:
        parameters = listener_parameters(get_settings(), router.db_for_write(PageUrl))
        parameters["application_name"] = self._fleet_name(in_doubt=True)
        return psycopg.connect(**parameters, autocommit=True)

    def _connect_probe(self, channel: str) -> Probe:
        # By the address of those who announce: what they say must arrive.
        parameters = alias_parameters(get_settings(), router.db_for_write(PageUrl))
        parameters["application_name"] = application_name("cms-urlreload-probe")
        return Probe(psycopg.connect(**parameters, autocommit=True), channel)

    def _script(self, connection: psycopg.Connection) -> Script:
        # What was announced before is not heard by this session, or not by this process (a fork).
        self._announced = Announced()
        settings = get_settings()
        alias = router.db_for_write(PageUrl)
        statement, parameters = token_sql(alias)
        token = psycopg.ClientCursor(connection).mogrify(statement, parameters)
        opening = [_NO_IDLE_TIMEOUT, listen_statement(settings.channel)]
        assumed = role(settings, alias)
        if assumed is not None:
            opening.insert(0, sql.SQL("SET ROLE {}").format(sql.Identifier(assumed)).as_bytes())

        def heartbeat(in_doubt: bool) -> bytes:
            name = sql.Literal(self._fleet_name(in_doubt)).as_string(connection)
            set_name = f"set_config('application_name', {name}, false)"
            schema = f"CASE WHEN {set_name} IS NOT NULL THEN {schema_sql(alias)} END"
            beat = f"SELECT /* cms-urlreload heartbeat */ {schema}, t.* FROM ({token}) AS t"  # noqa: S608
            return beat.encode()

        return Script(
            probe_channel(),
            opening,
            heartbeat,
            channel=settings.channel.encode(),
            announced=self._announced,
            schemas=self._schemas,
            reads_elsewhere=_reads_elsewhere(),
            counters=self._counters,
        )

    def _fleet_name(self, in_doubt: bool) -> str:
        """Return what pg_stat_activity shows: the token served, with an asterisk if the process
        will look at it before its next answer; the pid and the host."""
        token: Any = self.state.applied
        served = token.short if token is not None else "-"
        return application_name(f"cms-urlreload {served}{'*' if in_doubt else ''}")


_FLEET_NAME = re.compile(r"cms-urlreload (?:-|([0-9a-f]+))(\*?) (\d{1,10})@(.+)")


def _worker(name: re.Match[str], since: datetime | None) -> Worker:
    served, doubt, pid, host = name.groups()
    return Worker(host, int(pid), served, bool(doubt), since)


def _reads_elsewhere() -> bool:
    """Whether URLs are built from another database than the one listened to: a replica."""
    return router.db_for_read(PageUrl) != router.db_for_write(PageUrl)


# PostgreSQL 14 and newer may end a session that is idle, as a listener is on purpose. Set after
# connecting: a pooler refuses most parameters in the start-up message.
_NO_IDLE_TIMEOUT = (
    b"SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'"
)
