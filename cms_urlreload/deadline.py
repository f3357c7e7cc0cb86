"""A limit on the time that one look may wait for the database, whatever the driver and whatever is
wrong: a server that says nothing, a connection that a firewall has forgotten, a name that does not
resolve.

A thread that waits inside a driver cannot be interrupted. It can be woken: another thread shuts
down the socket that it waits on, and the driver reports a lost connection. So the connection is
lost as well, on purpose: nothing is known of the state that it is in.

What the server can end by itself, it ends earlier, and the connection stays: see
:mod:`cms_urlreload.snapshot`.
"""

from __future__ import annotations

import _thread
import contextlib
import logging
import math
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

logger = logging.getLogger(__name__)

#: Databases that are files: nothing of theirs is waited for that a socket could end.
_FILES = frozenset({"sqlite"})
#: Databases whose drivers know ``connect_timeout``, in whole seconds, of which libpq takes 2 at
#: least. It ends the attempts that nobody waits for any more.
_CONNECT_TIMEOUT = frozenset({"postgresql", "mysql"})
#: Seconds in which a server must give its first answer on a connection that was open before. If it
#: does not, the connection is taken for one that was forgotten on the way, and another is opened.
REUSED_WITHIN = 0.25
#: Seconds after which a watch that has nothing to watch ends by itself.
_LONGEST_WATCH = 60.0


@contextlib.contextmanager
def executing_through(
    connection: BaseDatabaseWrapper, wrapper: Callable[..., Any]
) -> Iterator[None]:
    """What ``connection.execute_wrapper()`` does, but at the end take out the wrapper that was put
    in. That one takes out the last, which is another's where a receiver of ``connection_created``
    has added one meanwhile, as tools for tracing do."""
    connection.execute_wrappers.append(wrapper)
    try:
        yield
    finally:
        connection.execute_wrappers.remove(wrapper)


class NoAnswer(OperationalError):  # noqa: N818  # an answer more than an error
    """The database has not answered in time. The connection was given up."""


class Deadline:
    """The seconds that one look may spend waiting for the database. Belongs to one thread.

    Time that is spent otherwise, say in the ``get_urls()`` of an apphook, does not count: a build
    that takes long would never succeed.

    :param seconds: how long all waiting may take.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._left = seconds
        self._most = float("inf")
        self._watch: _Watch | None = None

    @property
    def left(self) -> float:
        """The seconds that are left."""
        return max(0.0, self._left)

    @property
    def is_over(self) -> bool:
        """Whether nothing is left."""
        return self._left <= 0

    @contextlib.contextmanager
    def on(self, connection: BaseDatabaseWrapper) -> Iterator[None]:
        """Apply to each statement that this thread executes on a connection."""
        if connection.vendor in _FILES:
            yield
            return
        try:
            with executing_through(connection, self._execute):
                yield
        finally:
            self._unwatch()

    def open(self, connection: BaseDatabaseWrapper) -> bool:
        """Have a connection that is open; return whether it was open before.

        :raises NoAnswer: if it took too long.
        """
        if connection.vendor in _FILES:
            connection.ensure_connection()
            return False
        if connection.connection is not None:
            self._watch = self._watch or _Watch.of(connection.connection)
            with (
                contextlib.suppress(NoAnswer),
                self.at_most(REUSED_WITHIN),
                self._waiting(connection),
            ):
                connection.close_if_health_check_failed()
        if connection.connection is not None:
            return True
        self._unwatch()  # it was not healthy
        self._open(connection)
        return False

    @contextlib.contextmanager
    def at_most(self, seconds: float) -> Iterator[None]:
        """Inside, no statement may take longer than this."""
        self._most = seconds
        try:
            yield
        finally:
            self._most = float("inf")

    @contextlib.contextmanager
    def _waiting(self, connection: BaseDatabaseWrapper) -> Iterator[None]:
        """Limit what is done inside; if it took too long, close the connection and say so."""
        watch, began = self._watch, time.monotonic()
        if watch is None:  # a connection that has no socket, or is lost already
            yield
            return
        allowed = min(self.left, self._most)
        watch.arm(allowed)
        try:
            yield
        finally:
            self._left -= time.monotonic() - began
            if watch.disarm():
                self._give_up(connection, allowed)

    def _give_up(self, connection: BaseDatabaseWrapper, allowed: float) -> NoReturn:
        self._unwatch()
        with contextlib.suppress(Exception):
            connection.close()
        raise NoAnswer(f"the database {connection.alias!r} gave no answer within {allowed:.2g} s")

    def _execute(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        """For executing_through(): limit one statement."""
        with self._waiting(context["connection"]):
            return execute(sql, params, many, context)

    def _open(self, connection: BaseDatabaseWrapper) -> None:
        opened = connection.get_new_connection
        allowed, began = self.left, time.monotonic()

        def open_in_time(parameters: Any) -> Any:
            if connection.vendor in _CONNECT_TIMEOUT:
                parameters = {**parameters, "connect_timeout": max(2, math.ceil(allowed))}
            raw = self._call_in_time(lambda: opened(parameters), connection.alias)
            self._watch = _Watch.of(raw)
            if self._watch is not None:
                # Django sets the session up past execute_wrapper().
                self._watch.arm(allowed - (time.monotonic() - began))
            return raw

        was_replaced = "get_new_connection" in vars(connection)  # somebody else does the same
        try:
            # An attribute of this one wrapper, which belongs to this thread.
            vars(connection)["get_new_connection"] = open_in_time
            connection.ensure_connection()
        finally:
            if was_replaced:
                vars(connection)["get_new_connection"] = opened
            else:
                vars(connection).pop("get_new_connection", None)
            self._left -= time.monotonic() - began
            if self._watch is not None and self._watch.disarm():
                self._give_up(connection, allowed)

    def _call_in_time(self, connect: Callable[[], Any], alias: str) -> Any:
        call = _Call(connect)
        try:
            call.start()
        except RuntimeError:  # an interpreter that has no threads to give
            return connect()
        ended = False
        try:
            ended = call.wait(self.left)
        finally:
            if not ended:  # or something was raised here, by a signal handler
                call.give_up()
        if not ended:
            raise NoAnswer(f"no connection to the database {alias!r} within {self.seconds:.2g} s")
        return call.result()

    def _unwatch(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.end()


class _Call(threading.Thread):
    """Opens a connection in a thread of its own. A driver's own limit (``connect_timeout``) is none
    on what a pool or a name server takes, and it is counted in whole seconds."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        super().__init__(name="cms-urlreload-connect", daemon=True)
        self._connect = connect
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._given_up = False
        self._raw: Any = None
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._raw = self._connect()
        except BaseException as error:  # raised where it is waited for
            self._error = error
        with self._lock:
            self._ended.set()
            if self._given_up and self._raw is not None:
                _give_back(self._raw)

    def wait(self, seconds: float) -> bool:
        """Wait for the end; return whether it has come."""
        return self._ended.wait(seconds)

    def give_up(self) -> None:
        """Nobody wants the result any more, whether it is there already or not."""
        with self._lock:
            self._given_up = True
            if self._raw is not None and self._ended.is_set():
                _give_back(self._raw)

    def result(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._raw


def _give_back(raw: Any) -> None:
    """Close a connection that came too late, or return it to its pool."""
    pool = getattr(raw, "_pool", None)  # psycopg_pool's, by which Django returns them too
    with contextlib.suppress(Exception):
        raw.close() if pool is None else pool.putconn(raw)


class _Watch:
    """A thread that shuts down a socket if one wait takes too long.

    :param descriptor: of the socket; a duplicate, because the number of one that the driver has
        closed may be that of somebody else's socket a moment later.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._condition = threading.Condition()
        self._is_armed = False
        self._at = time.monotonic()
        #: Until when the thread sleeps: it need not be woken for a deadline that comes later.
        self._sleeps_until = float("-inf")
        self._has_cut = False
        self._has_ended = False

    @classmethod
    def of(cls, raw: Any) -> _Watch | None:
        """Return a watch on a driver's connection, started; None if it has no socket."""
        descriptor = _descriptor(raw)
        if descriptor is None:
            return None
        watch = cls(socket.dup(descriptor))
        try:
            # Not a threading.Thread: that one is waited for until it runs, and costs a third of a
            # look. This one starts while the first statement is on its way.
            _thread.start_new_thread(watch._run, ())
        except RuntimeError:  # an interpreter that has no threads to give
            socket.close(watch._descriptor)
            return None
        return watch

    def arm(self, seconds: float) -> None:
        """Begin to count."""
        with self._condition:
            self._is_armed = True
            self._at = time.monotonic() + seconds
            if self._at < self._sleeps_until:
                self._condition.notify()

    def disarm(self) -> bool:
        """Stop counting; return whether the socket was shut down."""
        with self._condition:
            self._is_armed = False
            return self._has_cut

    def end(self) -> None:
        """Have the thread end."""
        with self._condition:
            self._has_ended = True
            self._condition.notify()

    def _run(self) -> None:
        with self._condition:
            while not (self._has_ended or self._has_cut):
                rest = self._at - time.monotonic()
                if rest > 0:
                    self._sleep(rest)
                elif self._is_armed:
                    self._has_cut = True
                    _shut_down(self._descriptor)
                elif -rest >= _LONGEST_WATCH:
                    self._has_ended = True  # forgotten: a signal handler has raised around it
                else:
                    self._sleep(_LONGEST_WATCH + rest)
        socket.close(self._descriptor)

    def _sleep(self, seconds: float) -> None:
        self._sleeps_until = time.monotonic() + seconds
        self._condition.wait(seconds)
        self._sleeps_until = float("-inf")


def _descriptor(raw: Any) -> int | None:
    """Return the descriptor of a driver's socket (psycopg, psycopg2, mysqlclient, PyMySQL)."""
    owner = raw if hasattr(raw, "fileno") else getattr(raw, "_sock", None)
    try:
        descriptor = int(owner.fileno())  # type: ignore[union-attr]
        return descriptor if stat.S_ISSOCK(os.fstat(descriptor).st_mode) else None
    except Exception:
        # Each driver has an error of its own for a connection that is closed. Without a socket
        # there is nothing to wait for.
        logger.debug("A connection without a socket is not watched.", exc_info=True)
        return None


def _shut_down(descriptor: int) -> None:
    watched = socket.socket(fileno=descriptor)
    try:
        watched.shutdown(socket.SHUT_RDWR)
    except OSError:
        logger.debug("The connection was lost by itself.")
    finally:
        watched.detach()
