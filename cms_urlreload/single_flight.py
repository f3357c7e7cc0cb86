"""One piece of work at a time; whoever comes meanwhile waits for its end, for as long as it likes,
in a thread or in an event loop.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from concurrent.futures import wait as wait_for_futures


class Flight:
    """One piece of work, from the moment that somebody means to do it.

    :param now: when that was, in seconds.
    """

    def __init__(self, now: float) -> None:
        self.began_at = now
        #: Whether somebody who did not wait for it any longer has said so in the log.
        self.is_reported = False
        #: The thread that does it; None as long as it is only meant to be done.
        self._thread: int | None = None
        self._ended: Future[None] = Future()

    @property
    def is_mine(self) -> bool:
        """Whether this thread does it."""
        return self._thread == threading.get_ident()

    @property
    def has_ended(self) -> bool:
        """Whether it is done, or was given up."""
        return self._ended.done()

    def wait(self, seconds: float) -> bool:
        """Wait for its end; return whether it has come."""
        return bool(wait_for_futures([self._ended], max(0.0, seconds)).done)

    async def await_end(self, seconds: float) -> bool:
        """The same in an event loop; takes no thread."""
        await asyncio.wait([asyncio.wrap_future(self._ended)], timeout=max(0.0, seconds))
        return self.has_ended


class SingleFlight:
    """Sees that there is one flight at a time. Any thread may call any method."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._current: Flight | None = None

    def reserve(self, flight: Flight) -> Flight:
        """Mean to do it, in whichever thread; return the flight that is under way, or this one."""
        with self._lock:
            if self._current is None:
                self._current = flight
            return self._current

    def begin(self, flight: Flight) -> Flight:
        """Do it in this thread; return the flight that is under way, or this one.

        One that was reserved, and that no thread has begun, is done by this one as well: its thread
        may be waiting for this one.
        """
        with self._lock:
            current = self._current
            if current is None or current._thread is None:
                if flight.has_ended:  # given up by who has reserved it, and done all the same
                    flight._ended = Future()
                flight._thread = threading.get_ident()
                if current is not None and current is not flight:
                    flight._ended.add_done_callback(lambda _: _end(current))
                self._current = flight
            return self._current or flight

    def end(self, flight: Flight) -> None:
        """Say that a flight is over: one that this thread does, or has reserved and never begun.
        Does nothing about any other."""
        with self._lock:
            is_ours = self._current is flight and (flight._thread is None or flight.is_mine)
            if is_ours:
                self._current = None
        if is_ours:
            _end(flight)


def _end(flight: Flight) -> None:
    if not flight._ended.done():
        flight._ended.set_result(None)
