"""Brings the URLs of this process up to date: reads the token and, if it is another, builds aside
and publishes. One thread at a time; whatever fails, the last good URLs keep serving.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator

from cms import appresolver
from cms.models import PageUrl
from django.db import Error as DatabaseError
from django.db import connections, router

from .apphooks import AppTree, build
from .backoff import Backoff
from .conf import get_settings
from .pacing import Allowance
from .signals import counted, refresh_failed, urls_reloaded
from .state import Reason, State
from .transports import Transport
from .urltree import Publisher

logger = logging.getLogger(__name__)

#: Longest time, in seconds, that a request waits for a refresh which another one is running; then
#: it goes on with the last good URLs.
PATIENCE = 10.0

#: The share of a CPU that a process may spend on building URLs, and the seconds of it that may be
#: spent at once. An editor never gets there: it is for a script that commits hundreds of changes,
#: each on its own. In between, requests are answered from the last good URLs. Of a CPU, because
#: where many threads answer requests a build takes long by the clock, and costs them no more.
BUILDING_SHARE = 0.25
BUILDING_BURST = 1.0


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
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._backoff = Backoff(first=0.5, cap=10.0)
        self._building = Allowance(BUILDING_BURST, BUILDING_SHARE)
        #: Not before this time: after a failure, or after too much building.
        self._next_at = 0.0
        self._failure: str | None = None
        #: How many times other URLs were published, for tests and for people.
        self.publications = 0
        #: Whether what an open transaction wrote is read and published too. See trial().
        self.inside_transactions = False

    def refresh(self) -> None:
        """Make this process current, or wait for the thread that does. Raises nothing.

        Does nothing while the last failure is younger than the back-off, or while building has had
        more than its share; the state stays due.
        """
        if not self._may_try(self._clock()):
            return
        if self._thread == threading.get_ident():
            return  # asked for by something that our own refresh called, say a get_urls()
        if not self._lock.acquire(timeout=PATIENCE):
            logger.warning(
                "A refresh of the apphook URLs has been running for %.0f seconds; this request "
                "goes on with the last good ones. Look for slow queries, or a slow get_urls().",
                PATIENCE,
            )
            return
        try:
            self._thread = threading.get_ident()
            # A second look: the thread that was waited for has done it, or has just failed.
            now = self._clock()
            if self._state.is_due(now) and self._may_try(now):
                self._refresh()
        finally:
            self._thread = None
            self._lock.release()

    def _may_try(self, now: float) -> bool:
        return self.inside_transactions or now >= self._next_at

    def _refresh(self) -> None:
        alias = router.db_for_read(PageUrl)
        if connections[alias].in_atomic_block and not self.inside_transactions:
            # What is read here may never be committed. Stays due; the next request is outside.
            logger.debug("Not refreshed: the thread is inside a transaction.")
            return
        try:
            self._refresh_from(alias)
        except Exception as error:
            self._failed(error)
        else:
            self._succeeded()

    def _refresh_from(self, alias: str) -> None:
        settings = get_settings()
        transport = self._get_transport()
        transport.ensure_started()
        marks = self._state.marks  # what is marked from here on asks for another refresh
        reason = self._state.reason
        was_open = connections[alias].connection is not None
        try:
            changed = self._apply(alias, transport, reason)
        except DatabaseError:
            # A persistent connection may have died since it was used last. Django finds out at
            # the end of the request; the request that we are in front of would fail by it.
            connections[alias].close_if_unusable_or_obsolete()
            if not was_open or connections[alias].in_atomic_block:
                raise
            changed = self._apply(alias, transport, reason)
        self._state.settle(marks)
        now = self._clock()
        if now >= self._state.lease_until:
            transport.lapsed()
            self._state.put_off(now + settings.poll_interval)
        transport.refreshed(changed)

    def _apply(self, alias: str, transport: Transport, reason: Reason) -> bool:
        """Read the token, and build and publish if the URLs are not of it; return whether the
        applied token changed."""
        # The token is read before the rows: what changes between the two is in the URLs and not
        # in the token, which costs one more refresh. The other way round it would be lost.
        token = transport.read_token(alias)
        counted.send_robust(Reloader, name="token_reads")
        if token == self._state.applied and self._is_published():
            return False
        start, cpu_start = self._clock(), self._cpu_clock()
        tree = build(alias, self._tree)
        replaced = self._publish(tree) if self._differs(tree) else None
        end = self._clock()
        # The first build is none of a storm, nor is what tests do.
        if self._state.applied is not None and not self.inside_transactions:
            self._building.spend(self._cpu_clock() - cpu_start, end)
        self._state.applied = token
        if replaced is not None:
            self._tell(len(tree.resolvers), replaced, end - start, reason)
        return True

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

    def _failed(self, error: Exception) -> None:
        self._next_at = self._clock() + self._backoff.next()
        failure = f"{type(error).__name__}: {error}"
        if failure != self._failure:
            self._failure = failure
            logger.error(
                "The apphook URLs could not be refreshed (%s). The last good ones keep serving; "
                "it is tried again until it works, and told once.",
                failure,
                exc_info=error,
            )
        refresh_failed.send_robust(Reloader, error=error)

    def _succeeded(self) -> None:
        self._next_at = self._building.ready_at()
        self._backoff.reset()
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
            with self._lock:
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

    def reset_after_fork(self) -> None:
        """In a forked child: nobody holds the lock, whoever held it in the parent."""
        self._lock = threading.Lock()
        self._thread = None
        self._next_at = 0.0
