"""Brings the URLs of this process up to date: reads the token and, if it is another, builds aside
and publishes. One thread at a time; whatever fails, the last good URLs keep serving.
"""

from __future__ import annotations

import contextlib
import logging
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

from asgiref.sync import sync_to_async
from cms import appresolver
from cms.models import PageUrl
from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError
from django.db import connections, router
from django.http import HttpRequest, HttpResponse
from django.urls import re_path

from .apphooks import AppTree, build
from .backoff import Backoff
from .conf import Settings, get_settings
from .deadline import Deadline
from .pacing import Allowance
from .signals import counted, refresh_failed, urls_reloaded
from .single_flight import Flight, SingleFlight
from .snapshot import CaughtError, snapshot
from .state import Reason, State, Token
from .transports import Transport
from .urltree import Publisher

logger = logging.getLogger(__name__)

#: So many builds at once, and so many a second for as long as changes come, are an editor's, and
#: none of them waits. (One change in the admin makes up to two: django CMS writes its revision
#: after the response.) More is a script that commits hundreds of changes, each on its own: then
#: building has its share of a CPU, and requests in between are answered from the last good URLs.
BUILDS_BURST = 20
BUILDS_RATE = 0.2
BUILDING_SHARE = 0.25
#: Longest pause, in seconds, between two builds for the sake of that share.
LONGEST_PAUSE = 1.0

#: A look that failed after so many seconds, or more, has kept a request waiting. The next ones are
#: taken aside, in a thread of their own, until one succeeds.
SLOW = 0.25
#: Seconds that a request waits for such a look, if none has failed yet.
ASIDE_PATIENCE = 0.25

# How time limits on a task end it, where no signal handler raises them (in greenlets, say).
_TIME_LIMITS = frozenset(
    {"billiard.exceptions.SoftTimeLimitExceeded", "rq.timeouts.BaseTimeoutException"}
)


class Reloader:
    """Refreshes one process.

    :param state: what the process knows; changed by this object and by the transport.
    :param get_transport: returns the transport of this process.
    :param clock: seconds, as from time.monotonic().
    :param cpu_clock: seconds of CPU that the calling thread has had.
    """

    def __init__(
        self,
        state: State,
        get_transport: Callable[[], Transport],
        clock: Callable[[], float] = time.monotonic,
        cpu_clock: Callable[[], float] = time.thread_time,
    ) -> None:
        self._state = state
        self._get_transport = get_transport
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._publisher = Publisher()
        self._tree: AppTree | None = None
        self._flights = SingleFlight()
        self._backoff = Backoff(first=0.5, cap=10.0)
        self._builds = Allowance(BUILDS_BURST, BUILDS_RATE)
        #: Not before this time: after a failure, or after too much building.
        self._next_at = 0.0
        #: State.marks when the last look began.
        self._looked_at = -1
        #: Whether looks are taken aside, because the last one has failed slowly.
        self._is_slow = False
        #: Whether a get_urls() catches errors of the database.
        self._needs_savepoints = False
        self._failure: str | None = None
        #: What was logged of failures since the last success.
        self._reported: set[str] = set()
        #: How many times other URLs were published, for tests and for people.
        self.publications = 0
        #: Whether what an open transaction wrote is read and published too. See trial().
        self.inside_transactions = False

    def refresh(self) -> None:
        """Make this process current, or wait for the thread that does, but no longer than
        ``REFRESH_TIMEOUT``. Raises nothing but what ends the caller: a time limit, a signal.

        Does nothing while the last failure is younger than the back-off, or while building has had
        more than its share; the state stays due.
        """
        until = self._clock() + _timeout()
        while self._wants_look() and self._clock() < until:
            if self._goes_aside and (aside := self._look_aside()) is not None:
                aside.wait(self._aside_patience(aside))
                return
            flight = Flight(self._clock())
            try:
                current = self._flights.begin(flight)
                if current is flight:
                    self._look(until)
                    return
            finally:
                self._flights.end(flight)
            if current.is_mine:
                if _is_inside_look():
                    return  # asked for by something that our own look called, say a get_urls()
                self._flights.end(current)  # a signal handler has raised at the end of it
            elif not current.wait(self._patience(current, until)):
                self._report_slow(current)
                return

    async def arefresh(self) -> None:
        """The same in an event loop, which it does not block. One thread is taken, by whoever
        looks; those who wait take none."""
        until = self._clock() + _timeout()
        while self._wants_look() and self._clock() < until:
            if self._goes_aside and (aside := self._look_aside()) is not None:
                await aside.await_end(self._aside_patience(aside))
                return
            flight = Flight(self._clock())
            try:
                current = self._flights.reserve(flight)
                if current is flight:
                    # It reads the database: in the thread that has this request's connections.
                    look = sync_to_async(self._look_reserved, thread_sensitive=True)
                    if await look(flight, until):
                        return
            finally:
                self._flights.end(flight)
            if not await current.await_end(self._patience(current, until)):
                self._report_slow(current)
                return

    def _look_reserved(self, flight: Flight, until: float) -> bool:
        """Look in this thread, unless another one has taken that over; return whether."""
        try:
            if self._flights.begin(flight) is not flight:
                return False
            self._look(until)
        finally:
            self._flights.end(flight)
        return True

    def _wants_look(self) -> bool:
        now = self._clock()
        return self._state.is_due(now) and self._may_try(now)

    def _may_try(self, now: float) -> bool:
        # A commit of this process, since the last look: the database answers, and an editor waits.
        return (
            now >= self._next_at
            or self.inside_transactions
            or self._state.last_own > self._looked_at
        )

    @property
    def _goes_aside(self) -> bool:
        if self.inside_transactions or self._state.last_own > self._looked_at:
            return False
        return self._is_slow or self._state.gives_no_answer

    def _patience(self, flight: Flight, until: float) -> float:
        """Return for how many seconds to wait for somebody else's look: not at all for one that
        began too long ago."""
        return min(until, flight.began_at + _timeout()) - self._clock()

    def _aside_patience(self, flight: Flight) -> float:
        if self._failure is not None:
            return 0.0
        return flight.began_at + ASIDE_PATIENCE - self._clock()

    def _report_slow(self, flight: Flight) -> None:
        if flight.is_reported:
            return
        flight.is_reported = True
        logger.warning(
            "A refresh of the apphook URLs has been running for more than %g seconds "
            "(REFRESH_TIMEOUT). Requests go on with the last good URLs. Look for a slow get_urls() "
            "or a slow database.",
            _timeout(),
        )

    def _look_aside(self) -> Flight | None:
        """Have a thread of its own look, so that no request waits for a database that is known to
        be slow; return its flight, or the one that is under way. None if there are no threads."""
        flight = Flight(self._clock())
        current = self._flights.reserve(flight)
        if current is flight:
            thread = threading.Thread(
                target=self._run_aside, args=[flight], name="cms-urlreload-refresh", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:
                self._flights.end(flight)
                return None
        return current

    def _run_aside(self, flight: Flight) -> None:
        try:
            self._look_reserved(flight, self._clock() + _timeout())
        finally:
            connections.close_all()  # of this thread

    def _look(self, until: float) -> None:
        began = time.monotonic()
        try:
            # A second look at the state: who was waited for may have done it, or have just failed.
            if self._wants_look():
                self._refresh(until)
        except Exception as error:
            if _ends_caller(error):
                raise
            slowly = isinstance(error, DatabaseError) and time.monotonic() - began >= SLOW
            self._failed(error, slowly)

    def _refresh(self, until: float) -> None:
        alias = router.db_for_read(PageUrl)
        if connections[alias].in_atomic_block and not self.inside_transactions:
            # What is read here may never be committed. Stays due; the next request is outside.
            logger.debug("Not refreshed: the thread is inside a transaction.")
            return
        self._looked_at = self._state.marks
        self._next_at = 0.0  # what held back the looks before this one does not hold back the next
        self._refresh_from(alias, get_settings(), until)
        self._succeeded()

    def _refresh_from(self, alias: str, settings: Settings, until: float) -> None:
        transport = self._get_transport()
        transport.ensure_started()
        marks = self._state.marks  # what is marked from here on asks for another refresh
        reason = self._state.reason
        left = until - self._clock()
        deadline = Deadline(min(settings.refresh_timeout, max(0.1, left)))
        changed = self._apply(alias, transport, reason, deadline)
        self._state.settle(marks)
        now = self._clock()
        if now >= self._state.lease_until:
            transport.lapsed()
            self._state.put_off(now + settings.poll_interval)
        transport.refreshed(changed)

    def _apply(self, alias: str, transport: Transport, reason: Reason, deadline: Deadline) -> bool:
        """Read the token, and build and publish if the URLs are not of it; return whether the
        applied token changed."""
        start, cpu_start = self._clock(), self._cpu_clock()
        try:
            token, tree = self._read(alias, transport, deadline)
        except CaughtError:
            self._needs_savepoints = True
            token, tree = self._read(alias, transport, deadline)
        if tree is None:
            return False
        replaced = self._publish(tree) if self._differs(tree) else None
        self._pace(self._cpu_clock() - cpu_start)
        self._state.applied = token
        if replaced is not None:
            self._tell(len(tree.resolvers), replaced, self._clock() - start, reason)
        return True

    def _read(
        self, alias: str, transport: Transport, deadline: Deadline
    ) -> tuple[Token, AppTree | None]:
        """Read the token, and build if the URLs are not of it; both of one state."""
        with snapshot(alias, deadline, self._needs_savepoints):
            token = transport.read_token(alias)
            counted.send_robust(Reloader, name="token_reads")
            if token == self._state.applied and self._is_published():
                return token, None
            return token, build(alias, self._tree)

    def _pace(self, cpu: float) -> None:
        """Charge a build."""
        now = self._clock()
        # The first build is none of a storm, nor is what tests do.
        if self._state.applied is None or self.inside_transactions:
            return
        self._builds.spend(1, now)
        if self._builds.ready_at() > now:
            pause = min(LONGEST_PAUSE, cpu * (1 / BUILDING_SHARE - 1))
            self._next_at = now + pause

    def _is_published(self) -> bool:
        return self._tree is not None and self._publisher.is_published()

    def _differs(self, tree: AppTree) -> bool:
        """Whether publishing the tree would change any URL. A new revision alone does not: django
        CMS writes one for each new draft, and once more after each change that was announced."""
        if self._tree is None or not self._is_published():
            return True
        old, new = self._tree.resolvers, tree.resolvers
        return len(old) != len(new) or any(a is not b for a, b in zip(old, new, strict=True))

    def _publish(self, tree: AppTree) -> int:
        # None until all is in place: a fork in the middle, or an error, leaves a process that
        # publishes again rather than one that takes half of it for the whole.
        self._tree = None
        replaced = self._publisher.publish(tree.resolvers)
        self._tree = tree
        self.publications += 1
        return replaced

    def _tell(self, pages: int, replaced: int, seconds: float, reason: Reason) -> None:
        logger.info(
            "Apphook URLs reloaded: %d apphook pages (%d resolvers replaced, %.1f ms; %s).",
            pages,
            replaced,
            seconds * 1000,
            reason,
        )
        urls_reloaded.send_robust(
            Reloader, pages=pages, replaced=replaced, seconds=seconds, reason=reason
        )

    @property
    def findings(self) -> tuple[str, ...]:
        """What urlconfs do that cannot be followed; see :class:`Publisher`."""
        return self._publisher.findings

    @property
    def failure(self) -> str | None:
        """Why the last refresh failed; None if it did not."""
        return self._failure

    def _failed(self, error: Exception, slowly: bool) -> None:
        self._next_at = self._clock() + self._backoff.next()
        self._is_slow = slowly
        self._failure = _describe(error)
        # A message may have a pid or a port in it, which are others each time.
        kind = re.sub(r"\b(0x)?[0-9a-f]*\d[0-9a-f]*\b", "#", self._failure)
        if kind not in self._reported:
            self._reported.add(kind)
            logger.error(
                "The apphook URLs could not be refreshed (%s). %s; it is tried again until it "
                "works, and this is logged once.",
                self._failure,
                "The last good ones keep serving"
                if self._has_urls
                else "This process has none yet: what django CMS would serve is answered with 503",
                exc_info=error,
            )
        if not (self._has_urls or self.inside_transactions or self._publisher.is_published()):
            self._publish_unavailable()
        refresh_failed.send_robust(Reloader, error=error)

    @property
    def _has_urls(self) -> bool:
        """Whether this process has apphook URLs: of ours, or of django CMS's own at its start."""
        return self._tree is not None or bool(appresolver.APP_RESOLVERS)

    def _publish_unavailable(self) -> None:
        """Answer with 503 whatever may be an apphook's. To look would be for django CMS to do, and
        it would wait for as long as the database takes, or take an error for a site without
        apphooks."""
        try:
            self._publisher.publish([], patterns=[re_path(r"", _unavailable)])
        except Exception:
            logger.exception("The URL tree could not be changed.")

    def _succeeded(self) -> None:
        self._backoff.reset()
        self._is_slow = False
        self._state.gives_no_answer = False
        self._reported.clear()
        if self._failure is not None:
            logger.info("The apphook URLs could be refreshed again, after: %s", self._failure)
            self._failure = None

    @contextlib.contextmanager
    def trial(self) -> Iterator[None]:
        """For tests. Inside, the URLs are also those of a transaction that is open, and the token
        is looked at when something marks the state and at no other time. Afterwards the URLs are
        what they were before.
        """
        outer, tree = self.inside_transactions, self._tree if self._is_published() else None
        resolvers, publications = list(appresolver.APP_RESOLVERS), self.publications
        applied, failure, next_at = self._state.applied, self._failure, self._next_at
        self.inside_transactions = True
        self._state.put_off(float("inf"))
        self._state.mark_dirty("test")
        try:
            yield
        finally:
            with self._alone():
                # Also what django CMS itself has built inside, at the first use of its URLs.
                if publications != self.publications or resolvers != appresolver.APP_RESOLVERS:
                    self._publisher.publish(resolvers)
                self._tree, self._state.applied = tree, applied
                self._failure, self._next_at = failure, next_at
                self._backoff.reset()
                self.inside_transactions = outer
            if not outer:
                self._state.expire_lease()
            self._state.mark_dirty("test")

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait for the look that is under way, and keep others from beginning one."""
        flight = Flight(self._clock())
        try:
            while (current := self._flights.begin(flight)) is not flight:
                current.wait(1.0)
            yield
        finally:
            self._flights.end(flight)

    def reset_after_fork(self) -> None:
        """In a forked child: nobody looks, whoever did in the parent."""
        self._flights = SingleFlight()
        self._next_at = 0.0


def _timeout() -> float:
    """Return REFRESH_TIMEOUT; its default where the settings are wrong, which a look reports."""
    try:
        return get_settings().refresh_timeout
    except ImproperlyConfigured:
        return Settings().refresh_timeout


def _describe(error: Exception) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # in the __str__() of somebody's class
        return type(error).__name__


def _is_inside_look() -> bool:
    """Whether this is called, however indirectly, by a look of this thread."""
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code is Reloader._look.__code__:
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def _unavailable(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
    """The view of all URLs that may be an apphook's, in a process that has none yet."""
    return HttpResponse(
        "The URLs of this site could not be read from its database yet. Try again in a moment.\n",
        content_type="text/plain; charset=utf-8",
        status=503,
        headers={"Retry-After": "1", "Cache-Control": "no-store"},
    )


def _ends_caller(error: BaseException) -> bool:
    """Whether an exception was meant for the code around us, and hit us by chance: that of a time
    limit, or any other that a signal handler has raised."""
    names = {f"{each.__module__}.{each.__qualname__}" for each in type(error).__mro__}
    if names & _TIME_LIMITS:
        return True
    if threading.current_thread() is not threading.main_thread():
        return False  # Python runs signal handlers in the main thread only
    handlers = {_code(signal.getsignal(number)) for number in signal.valid_signals()} - {None}
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code in handlers:
            return True
        traceback = traceback.tb_next
    return False


def _code(handler: Any) -> CodeType | None:
    while hasattr(handler, "func"):  # functools.partial
        handler = handler.func
    return getattr(getattr(handler, "__func__", handler), "__code__", None)
