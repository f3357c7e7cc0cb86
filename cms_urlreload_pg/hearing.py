"""What is made of what a session hears: doubt about the URLs, no more often than is good, and the
suspicion that somebody changed them and told nobody. No connection and no clock.
"""

from __future__ import annotations

import logging
import secrets
from collections import deque
from dataclasses import dataclass

from cms_urlreload.pacing import Allowance
from cms_urlreload.signals import counted
from cms_urlreload.state import State, Token

logger = logging.getLogger(__name__)

#: Seconds that a notification may come after the heartbeat that has seen its change already.
GRACE = 1.0
#: How often notifications may put the URLs in doubt, which costs a look at the token: so many
#: times at once, and so many a second for as long as they come. Any role that can connect may
#: notify, as often as it likes. A look takes about a millisecond, so that costs a tenth of a
#: process's time; and one change in the admin is announced up to four times (by a trigger and by
#: the commit hook, and again when django CMS writes its revision after the response), so twenty
#: changes a second are no flood: less, and real changes would wait.
HINTS_BURST = 100
HINTS_RATE = 100
#: How many of its own announcements, that were not heard yet, a process remembers: many more than
#: its threads make at once. One that is forgotten is heard as somebody else's: one look more.
UNHEARD = 256


class Announced:
    """What this process has announced, and not heard yet.

    Each announcement has a number of its own, and is recognised once. So a clone of this process,
    from a snapshot of a virtual machine, which shares all that was random before, is somebody else.
    Any thread may call any method.
    """

    def __init__(self) -> None:
        self._numbers: deque[bytes] = deque(maxlen=UNHEARD)

    def new(self) -> str:
        """Return the number of an announcement that is about to be sent."""
        number = secrets.token_hex(8)
        self._numbers.append(number.encode())
        return number

    def was_ours(self, number: bytes) -> bool:
        """Whether a number that was heard is of this process; at most once for each."""
        try:
            self._numbers.remove(number)
        except ValueError:
            return False
        return True


@dataclass
class Counters:
    """What a process has heard, since its start."""

    notifications: int = 0
    heartbeats: int = 0
    #: Changes that a heartbeat found and nobody had announced.
    missed: int = 0

    def count(self, name: str) -> None:
        """Count one, and tell. Only the listener's thread does."""
        setattr(self, name, getattr(self, name) + 1)
        counted.send_robust(Counters, name=name)


class Hearing:
    """Turns notifications and heartbeats into the dirty flag.

    :param interval: seconds between two heartbeats, for the log.
    """

    def __init__(self, state: State, counters: Counters, interval: float) -> None:
        self._state = state
        self._counters = counters
        self._interval = interval
        self._hints = Allowance(HINTS_BURST, HINTS_RATE)
        self._mark_at: float | None = None
        self._suspect_at: float | None = None
        self._heard = False
        self._asked = False

    @property
    def due(self) -> float:
        """When step() must be called next, at the latest; infinity if it need not be."""
        times = (self._mark_at, self._suspect_at)
        return min((time for time in times if time is not None), default=float("inf"))

    def notified(self, now: float, by_us: bool, asked: bool = False) -> None:
        """Somebody says that routing changed.

        :param by_us: it was this process, which is in doubt already: its commit hook was faster.
        :param asked: a person asks for a reload.
        """
        self._heard = True
        self._suspect_at = None
        if not by_us:
            self._counters.count("notifications")
            self._asked = self._asked or asked
            if self._mark_at is None:
                # What comes until then is covered by it; the last one is never lost.
                self._mark_at = max(now, self._hints.ready_at())

    def beaten(self, token: Token, now: float) -> None:
        """A heartbeat has brought the truth."""
        self._counters.count("heartbeats")
        if token == self._state.applied:
            self._heard = False
        # A worker that builds from a replica comes here again for each look that it takes at one
        # that lags behind, until both agree.
        elif not self._state.dirty:
            self._state.mark_dirty("announced" if self._heard else "heartbeat")
            if not self._heard:
                self._suspect_at = now + GRACE

    def step(self, now: float) -> None:
        """Do what is due."""
        if self._mark_at is not None and now >= self._mark_at:
            self._mark_at = None
            self._hints.spend(1, now)
            self._state.mark_dirty("asked" if self._asked else "announced")
            self._asked = False
        if self._suspect_at is not None and now >= self._suspect_at:
            self._suspect_at = None
            self._missed()

    def _missed(self) -> None:
        self._counters.count("missed")
        logger.warning(
            "A change of apphook URLs was found by the heartbeat, %g seconds late at most: nobody "
            "had announced it. Are the triggers in (manage.py check --database default)? Without "
            "them, what passes Django's signals by is found only so (SQL, queryset.update(), a "
            "move in the page tree); or its process died before it could tell.",
            self._interval,
        )
