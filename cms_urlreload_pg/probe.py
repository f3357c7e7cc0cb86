"""Proves that what another connection notifies arrives here. PgBouncer in transaction mode
accepts a LISTEN, and even shows it, and then delivers nothing; and an address may be that of
another database.
"""

from __future__ import annotations

import secrets

import psycopg
from psycopg import sql
from psycopg.pq import ExecStatus


def probe_channel() -> str:
    """Return a channel that nobody else listens to: the fleet must not be woken by a probe."""
    return f"cms-urlreload-probe-{secrets.token_hex(8)}"


class Probe:
    """The other connection: it notifies once, and is closed when that has arrived, or has not.

    :param connection: in autocommit mode, opened as the site opens those that it writes by.
    """

    def __init__(self, connection: psycopg.Connection, channel: str) -> None:
        self._connection = connection
        statement = sql.SQL("SELECT /* cms-urlreload probe */ pg_notify({}, '')")
        self._pgconn = connection.pgconn
        self._pgconn.nonblocking = 1
        self._pgconn.send_query(statement.format(sql.Literal(channel)).as_bytes(connection))
        self._pgconn.flush()

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._pgconn.socket

    def trouble(self) -> str | None:
        """Return what its server has said against the NOTIFY, if anything. Does not wait.

        :raises psycopg.Error: if the connection is lost.
        """
        self._pgconn.consume_input()
        result = None if self._pgconn.is_busy() else self._pgconn.get_result()
        if result is None or result.status == ExecStatus.TUPLES_OK:
            return None
        return result.get_error_message().strip()

    def close(self) -> None:
        """Close the connection; the server finishes what it was told before."""
        self._connection.close()
