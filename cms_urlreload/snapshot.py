"""One transaction that sees one state of the database, for the fingerprint, the rows, and what the
``get_urls()`` of apphooks reads.

Read one after the other, a change and its undoing between two statements would leave a process at
URLs that are in no database, with the fingerprint of those that are: for good, because nothing
would ever look wrong.

The transaction has limits of its own, in the server: a table that is locked, or a query that takes
long, ends the look and leaves the connection as it was.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from cms.models import PageUrl
from django.db import Error as DatabaseError
from django.db import InterfaceError, OperationalError, connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from .deadline import REUSED_WITHIN, Deadline, NoAnswer, executing_through

#: How much of the deadline the server has before it gives up by itself, for a lock and for a
#: statement as a whole. What is left is for its answer: a connection whose server has answered can
#: stay.
_LOCK_SHARE = 0.8
_STATEMENT_SHARE = 0.9
_SAVEPOINT = "cms_urlreload"
#: Errors of MySQL's and MariaDB's: a lost connection, a lock that was not to be had, a statement
#: that took too long. Others concern one statement.
_MYSQL_SPOILED = frozenset({1205, 1213, 1969, 2006, 2013, 2055, 3024, 4031})
#: Milliseconds that a transaction may be idle, say in a slow ``get_urls()``, whatever is set for
#: the role: a build that takes longer than that would never succeed.
_IDLE_IN_TRANSACTION = 60_000


class CaughtError(OperationalError):
    """Something inside, say a ``get_urls()``, has caught an error of the database, after which
    PostgreSQL answers nothing any more. A snapshot with savepoints goes on after it."""


@contextlib.contextmanager
def snapshot(alias: str, deadline: Deadline, savepoints: bool = False) -> Iterator[None]:
    """Have everything that this thread reads from a database inside be of one state.

    Inside a transaction it adds nothing: that one has an isolation of its own.

    :param savepoints: on PostgreSQL, make one before each statement, so that one that fails does
        not end the snapshot. It costs a round trip each.
    :raises NoAnswer: if the database did not answer in time.
    :raises CaughtError: see there.
    :raises django.db.Error: whatever else the database says. That it gave no answer, or had no lock
        to give, is raised at the end also if it was caught inside.
    """
    if connections[alias].in_atomic_block:
        yield
        return
    errors: list[DatabaseError] = []
    with (
        _autocommit(alias) as connection,
        executing_through(connection, _keep(errors, savepoints)),
        deadline.on(connection),
        _pin.to(alias),
        _begun(connection, deadline),
    ):
        errors.clear()  # of a connection that was replaced
        try:
            yield
        except DatabaseError as error:
            # One that comes of another, which was caught.
            if errors and error is not errors[0]:
                raise _of_caught(errors[0]) from errors[0]
            raise
        if errors:
            raise _of_caught(errors[0]) from errors[0]
        if connection.needs_rollback:
            raise OperationalError("a get_urls() left a transaction that must be rolled back")


def _of_caught(error: DatabaseError) -> DatabaseError:
    if isinstance(error, (OperationalError, InterfaceError)):
        return error
    return CaughtError(f"a get_urls() caught an error of the database: {error}")


@contextlib.contextmanager
def _autocommit(alias: str) -> Iterator[BaseDatabaseWrapper]:
    """Give the thread's connection; where somebody commits by hand, another one, because that one
    may be in the middle of something."""
    outer = connections[alias]
    if outer.connection is None:
        autocommit = bool(outer.settings_dict["AUTOCOMMIT"])
    else:
        autocommit = outer.autocommit
    if autocommit:
        yield outer
        return
    own = outer.copy()
    own.settings_dict["AUTOCOMMIT"] = True
    connections[alias] = own
    try:
        yield own
    finally:
        connections[alias] = outer
        own.close()


@contextlib.contextmanager
def _begun(connection: BaseDatabaseWrapper, deadline: Deadline) -> Iterator[None]:
    """Begin the transaction, and end it. Not Django's ``atomic()``: that one cannot say of which
    isolation it is to be, and switches autocommit off and on, which costs a round trip each.
    """
    if connection.vendor not in _BEGIN:
        deadline.open(connection)
        with transaction.atomic(using=connection.alias):  # of whatever isolation it has
            yield
        return
    undo = _begin_or_reconnect(connection, deadline)
    # For what is called inside: an atomic() makes a savepoint.
    connection.in_atomic_block, connection.autocommit = True, False
    connection.needs_rollback = False
    try:
        yield
    except BaseException:
        _end(connection, "ROLLBACK", undo)
        raise
    _end(connection, "COMMIT", undo)
    connection.run_and_clear_commit_hooks()


def _begin_or_reconnect(connection: BaseDatabaseWrapper, deadline: Deadline) -> list[str]:
    was_open = deadline.open(connection)
    try:
        if was_open:
            with deadline.at_most(REUSED_WITHIN):
                return _begin(connection, deadline)
        return _begin(connection, deadline)
    except (OperationalError, InterfaceError):
        # A connection that is kept may have died since it was used last.
        if not was_open or deadline.is_over:
            raise
    deadline.open(connection)
    return _begin(connection, deadline)


def _begin(connection: BaseDatabaseWrapper, deadline: Deadline) -> list[str]:
    """Begin a transaction; return what puts the session back to what it was."""
    try:
        with connection.cursor() as cursor:
            return _BEGIN[connection.vendor](cursor, deadline.left)
    except BaseException:
        # Also what a signal handler raises: Django would take the session for one without a
        # transaction, and lose what is written in it.
        with contextlib.suppress(Exception):
            connection.close()
        raise


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))


def _begin_postgresql(cursor: Any, seconds: float) -> list[str]:
    statements = [
        "BEGIN ISOLATION LEVEL REPEATABLE READ",
        f"SET LOCAL lock_timeout = {_milliseconds(seconds * _LOCK_SHARE)}",
        f"SET LOCAL statement_timeout = {_milliseconds(seconds * _STATEMENT_SHARE)}",
        f"SET LOCAL idle_in_transaction_session_timeout = {_IDLE_IN_TRANSACTION}",
    ]
    # One round trip, but where statements are prepared: that takes one at a time.
    if not cursor.db.settings_dict["OPTIONS"].get("server_side_binding"):
        statements = ["; ".join(statements)]
    for statement in statements:
        cursor.execute(statement)
    return []


def _begin_mysql(cursor: Any, seconds: float) -> list[str]:
    # There is no SET LOCAL. This one counts seconds, and is a day long at first (MariaDB), or a
    # year: https://dev.mysql.com/doc/refman/en/server-system-variables.html#sysvar_lock_wait_timeout
    cursor.execute("SELECT @@SESSION.lock_wait_timeout")
    [before] = cursor.fetchone()
    cursor.execute(f"SET SESSION lock_wait_timeout = {max(1, int(seconds * _LOCK_SHARE))}")
    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
    return [f"SET SESSION lock_wait_timeout = {int(before)}"]


def _begin_sqlite(cursor: Any, seconds: float) -> list[str]:
    cursor.execute("PRAGMA busy_timeout")
    [before] = cursor.fetchone()
    cursor.execute(f"PRAGMA busy_timeout = {_milliseconds(seconds * _LOCK_SHARE)}")
    # Not IMMEDIATE, whatever the settings say: a look writes nothing.
    cursor.execute("BEGIN DEFERRED")
    return [f"PRAGMA busy_timeout = {int(before)}"]


_BEGIN: dict[str, Callable[[Any, float], list[str]]] = {
    "postgresql": _begin_postgresql,
    "mysql": _begin_mysql,
    "sqlite": _begin_sqlite,
}


def _end(connection: BaseDatabaseWrapper, how: str, undo: list[str]) -> None:
    """End the transaction; where that is not possible, the connection, so that nobody else meets
    it in the middle of one."""
    lost = connection.closed_in_transaction
    connection.in_atomic_block, connection.autocommit = False, True
    connection.savepoint_ids = []
    connection.needs_rollback = False
    if how == "ROLLBACK":
        connection.run_on_commit = []
    if lost:
        connection.closed_in_transaction = False
        connection.connection = None
        return
    try:
        with connection.cursor() as cursor:
            for statement in (how, *undo):
                cursor.execute(statement)
    except BaseException as error:
        with contextlib.suppress(Exception):
            connection.close()
        if how == "COMMIT" or not isinstance(error, Exception):
            raise


def _keep(errors: list[DatabaseError], savepoints: bool) -> Callable[..., Any]:
    """Return a wrapper of executions that keeps errors after which the snapshot is not whole.

    :param savepoints: go on after those that concern one statement only.
    """

    def keep(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        connection = context["connection"]
        is_saved = savepoints and connection.vendor == "postgresql" and connection.in_atomic_block
        if is_saved:
            execute(f"SAVEPOINT {_SAVEPOINT}", None, False, context)
        try:
            return execute(sql, params, many, context)
        except DatabaseError as error:
            if _spoils(error, connection, is_saved):
                errors.append(error)
            elif is_saved:
                execute(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}", None, False, context)
            raise

    return keep


def _spoils(error: DatabaseError, connection: BaseDatabaseWrapper, is_saved: bool) -> bool:
    """Whether nothing can be read any more after this error, or not all."""
    if isinstance(error, NoAnswer):
        return True
    if connection.vendor == "sqlite":
        return "locked" in str(error)
    if connection.vendor == "mysql":
        return bool(_MYSQL_SPOILED.intersection(error.args[:1]))
    if isinstance(error, (OperationalError, InterfaceError)):
        return True
    # PostgreSQL refuses everything until the end of the transaction, or that of a savepoint.
    return connection.vendor == "postgresql" and not (is_saved or connection.savepoint_ids)


class _Pin:
    """A database router that has one thread read from one database: a router that chooses a
    replica for each query would make a snapshot of several. It says nothing as long as nothing is
    pinned."""

    def __init__(self) -> None:
        self._here = threading.local()

    @contextlib.contextmanager
    def to(self, alias: str) -> Iterator[None]:
        """Inside, have this thread read from a database what is written to where pages are."""
        if self not in router.routers:  # first, and again where tests have set other routers
            router.routers.insert(0, self)
        self._here.pinned = (alias, router.db_for_write(PageUrl))
        try:
            yield
        finally:
            del self._here.pinned

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        """Return the database to read a model from; None to leave that to the other routers."""
        alias, written = getattr(self._here, "pinned", (None, None))
        return alias if alias is not None and router.db_for_write(model) == written else None


_pin = _Pin()
