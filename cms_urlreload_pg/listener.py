"""The thread that owns the listening connection: it connects, lets a session run, and after a
loss waits and connects again, for ever.

Built on what is said of threads and forks in each web server: it is a daemon, every wait of it
can be woken, nothing depends on its end being orderly, and a forked child only drops it.
"""

from __future__ import annotations

import logging
import os
import selectors
import socket
import stat
import threading
import time
from collections.abc import Callable

import psycopg

from cms_urlreload.backoff import Backoff
from cms_urlreload.conf import SETTING, Settings
from cms_urlreload.mode import ModeTeller
from cms_urlreload.state import State

from .probe import Probe
from .session import NoAnswer, NotDelivered, Script, Session, SessionLost

logger = logging.getLogger(__name__)

THREAD_NAME = "cms-urlreload-listener"
#: Seconds that the end of the process waits for the thread.
JOIN_TIMEOUT = 1.0

# Kept for ever, in a forked child: the parent's connections. See Listener.abandon().
_abandoned: list[object] = []


class Listener:
    """One thread, with one connection at a time. Started once; after it has ended, make another.

    :param state: what it marks dirty, and whose lease it extends.
    :param settings: of the process.
    :param connect: opens a connection in autocommit mode, and blocks for a bounded time.
    :param connect_probe: opens the other connection, which notifies the channel that it is given;
        likewise.
    :param write_script: returns what a session says on a connection; asks nobody.
    :param mode: is told whether it hears.
    :param clock: seconds, as from time.monotonic().
    """

    def __init__(
        self,
        state: State,
        settings: Settings,
        connect: Callable[[], psycopg.Connection],
        connect_probe: Callable[[str], Probe],
        write_script: Callable[[psycopg.Connection], Script],
        mode: ModeTeller,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state = state
        self._settings = settings
        self._connect = connect
        self._connect_probe = connect_probe
        self._write_script = write_script
        self._mode = mode
        self._clock = clock
        self._backoff = Backoff(first=1.0, cap=30.0)
        self._pid = os.getpid()
        self._stopping = False
        self._beat_now = False
        self._session: Session | None = None
        self._thread = threading.Thread(target=self.run, name=THREAD_NAME, daemon=True)
        # A pair of sockets and not a pipe: on Windows a selector waits for nothing else.
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        # What abandon() must not leave open: number and identity. Owned by the thread.
        self._descriptors = [_identify(self._wake_reader), _identify(self._wake_writer)]

    @property
    def is_healthy(self) -> bool:
        """Whether it hears, as far as is known: for people. What counts is the lease."""
        session = self._session
        return session is not None and session.heartbeats > 0

    def start(self) -> None:
        """Start the thread.

        :raises RuntimeError: where the interpreter has no threads to give.
        """
        try:
            self._thread.start()
        except RuntimeError:
            self._wake_reader.close()
            self._wake_writer.close()
            raise

    @property
    def is_ours(self) -> bool:
        """Whether it was started in this process. A web server that forks in C (uWSGI) may run
        none of Python's fork hooks, and to a child of it the parent's thread looks alive."""
        return self._pid == os.getpid()

    def is_alive(self) -> bool:
        """Whether the thread runs, in this process."""
        return self.is_ours and self._thread.is_alive()

    def beat(self) -> None:
        """Have the next heartbeat soon. Any thread."""
        self._beat_now = True
        self._wake()

    def settled(self) -> None:
        """The process is in doubt no more; show that soon, if it is shown otherwise. Any thread."""
        session = self._session
        if session is not None and session.shows_doubt:
            self._wake()

    def stop(self, timeout: float = JOIN_TIMEOUT) -> None:
        """Ask the thread to end, and wait for that, but no longer than ``timeout`` seconds."""
        if not self.is_ours:
            return
        self._stopping = True
        self._wake()
        if self._thread.is_alive():
            self._thread.join(timeout)
            if self._thread.is_alive():
                logger.debug("The listener is still connecting; it ends with the process.")

    def abandon(self) -> None:
        """In a forked child: let go of the parent's connection, and leave it whole.

        Closing it would tell the server to end the parent's session, and closing its descriptor
        would free a number that somebody else gets; so /dev/null takes the descriptors' places.
        """
        devnull = os.open(os.devnull, os.O_RDWR)
        for descriptor, identity in self._descriptors:
            if _identity(descriptor) == identity:
                os.dup2(devnull, descriptor)
        os.close(devnull)
        _abandoned.append(self)

    # From here on: in the thread.

    def run(self) -> None:
        """Serve one connection after the other, until stopped."""
        try:
            while not self._stopping:
                try:
                    self._serve()
                except (psycopg.Error, OSError, SessionLost) as error:
                    self._lost(error)
                except Exception as error:
                    # Our own mistake, or a setting's. With its traceback, when it is told.
                    self._lost(error, exc_info=error)
                if not self._stopping:
                    self._pause(self._backoff.next())
        finally:
            self._wake_reader.close()
            self._wake_writer.close()

    def _serve(self) -> None:
        """Connect, and listen until that ends."""
        connection = self._connect()
        self._descriptors.append(_identify(connection))
        try:
            script = self._write_script(connection)
            self._session = Session(connection, self._state, script, self._settings)
            # Looked up now: gevent may have put another in its place since the import.
            with selectors.DefaultSelector() as selector:
                selector.register(self._session.fileno, selectors.EVENT_READ)
                selector.register(self._wake_reader, selectors.EVENT_READ)
                self._prove(self._session, selector, script.probe_channel)
                while not self._stopping:
                    self._step(self._session, selector)
        except NoAnswer:
            # Before the lease ends: no request is to find the same by waiting for it.
            self._state.gives_no_answer = True
            raise
        finally:
            self._session = None
            self._descriptors.pop()
            # However this ends, from now on nothing is heard.
            self._state.expire_lease()
            connection.close()

    def _prove(self, session: Session, selector: selectors.BaseSelector, channel: str) -> None:
        """See that what another connection notifies arrives on this one."""
        session.step(self._clock())
        while not (self._stopping or session.wants_probe):
            self._step(session, selector)
        if self._stopping:
            return
        try:
            probe = self._connect_probe(channel)
        except psycopg.Error as error:
            raise SessionLost(f"the one that is to prove that it hears failed: {error}") from error
        self._descriptors.append(_identify(probe))
        try:
            session.probe_sent(self._clock())
            while not (self._stopping or session.is_proved):
                self._step(session, selector)
        except NotDelivered as error:
            trouble = probe.trouble()
            if trouble is not None:
                raise SessionLost(f"the one that is to prove that it hears: {trouble}") from error
            raise
        finally:
            self._descriptors.pop()
            probe.close()

    def _step(self, session: Session, selector: selectors.BaseSelector) -> None:
        """Wait once, and do what is then to be done."""
        ready = selector.select(max(0.0, session.due - self._clock()))
        readable = any(key.fd == session.fileno for key, _ in ready)
        if len(ready) > readable:
            self._sleep_again()
        if self._beat_now:
            self._beat_now = False
            session.want_beat()
        beats = session.heartbeats
        session.step(self._clock(), readable)
        if session.heartbeats != beats:
            self._found()

    def _pause(self, seconds: float) -> None:
        """Wait, or be woken to stop."""
        until = self._clock() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_reader, selectors.EVENT_READ)
            while not self._stopping and (rest := until - self._clock()) > 0:
                if selector.select(rest):
                    self._sleep_again()

    def _wake(self) -> None:
        try:
            self._wake_writer.send(b"\0")
        except OSError:
            logger.debug("The listener is awake already, or has ended.")

    def _sleep_again(self) -> None:
        try:
            while self._wake_reader.recv(4096):
                pass
        except BlockingIOError:
            pass  # emptied

    def _found(self) -> None:
        self._backoff.reset()
        self._state.gives_no_answer = False
        self._mode.push(f"listening for apphook changes on channel {self._settings.channel!r}.")

    def _lost(self, error: Exception, exc_info: Exception | None = None) -> None:
        reason = " ".join(str(error).split()) or type(error).__name__
        remedy = (
            "Until it has one again, the database is asked every "
            f"{self._settings.poll_interval:g} seconds while requests come in; it tries by itself."
        )
        if isinstance(error, NotDelivered):
            remedy = f"{self._advice()} {remedy}"
        told = self._mode.poll(f"the listener has no connection ({reason}).", remedy)
        if told and exc_info is not None:
            logger.error("Unexpected trouble in the listener.", exc_info=exc_info)

    def _advice(self) -> str:
        """What to do about a connection that listens in vain."""
        if self._settings.listen_dsn or self._settings.listen_database:
            key = "LISTEN_DSN" if self._settings.listen_dsn else "LISTEN_DATABASE"
            return (
                f"{SETTING}['{key}'] must lead to the database that pages are written to, and to "
                "PostgreSQL itself, not to a pooler in transaction mode."
            )
        return (
            "There seems to be a pooler in transaction mode (PgBouncer, say) between: set "
            f"{SETTING}['LISTEN_DSN'] or ['LISTEN_DATABASE'] to the address of PostgreSQL itself."
        )


def _identify(
    owner: socket.socket | psycopg.Connection | Probe,
) -> tuple[int, tuple[int, int] | None]:
    descriptor = owner.fileno()
    return descriptor, _identity(descriptor)


def _identity(descriptor: int) -> tuple[int, int] | None:
    """Return what tells one open socket from all others; None if it is not an open socket."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISSOCK(status.st_mode) else None
