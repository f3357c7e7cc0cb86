"""What one process knows of its own URLs: are they in doubt, until when are they vouched for, and
which state of the database were they built from. It asks nobody and decides nothing.
"""

from __future__ import annotations

import hashlib
import threading
import time
from typing import Literal, NamedTuple, get_args

#: Why the URLs are in doubt:
#:
#: * ``first``: this process has not looked yet;
#: * ``test``: a test asks for it (:mod:`cms_urlreload.testing`);
#: * ``asked``: a person asks for it ("Reload all workers", ``manage.py urlreload reload``);
#: * ``own``: a commit of this process;
#: * ``announced``: a notification;
#: * ``heartbeat``: the heartbeat found what nobody had announced;
#: * ``listening``: a connection listens from now on, and what came before it was not heard;
#: * ``forked``: what the parent hears is not heard in this child of it;
#: * ``polled``: nothing but that the lease has run out.
Reason = Literal[
    "first",
    "test",
    "asked",
    "own",
    "announced",
    "heartbeat",
    "listening",
    "forked",
    "polled",
]
#: All of them, the most telling first: that of several is given for a reload.
REASONS: tuple[Reason, ...] = get_args(Reason)


class Token(NamedTuple):
    """The identity of the routing state in a database. Two equal tokens mean equal URLs."""

    #: django CMS's own counter (``cms_urlconfrevision``); "" when it was never written.
    revision: str
    #: Digest, in hexadecimal, of the rows that decide routing.
    digest: str

    @property
    def short(self) -> str:
        """Eight characters for people: enough to see whether two workers serve the same."""
        return hashlib.sha256(f"{self.revision} {self.digest}".encode()).hexdigest()[:8]


class State:
    """The dirty flag, the lease and the applied token of this process.

    Any thread may call any method. ``dirty`` and ``lease_until`` are read without the lock on
    every request: each read is of one attribute, so it needs none, on free-threaded Python
    neither.
    """

    __slots__ = (
        "_lock",
        "_reasons",
        "applied",
        "dirty",
        "gives_no_answer",
        "heard_until",
        "lease_until",
        "marks",
    )

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: Something changed, or may have: look at the token before the next answer.
        self.dirty = True
        #: Until when (time.monotonic) it is proved that a change would have been heard.
        self.lease_until = 0.0
        #: Until when it was, or is, proved: the lease without what a poll adds to it. None as long
        #: as nothing was begun that could prove it.
        self.heard_until: float | None = None
        #: The token that the published URLs were built from; None before the first build.
        self.applied: Token | None = None
        #: The database has not answered in time, as far as is known. A request need not wait to see
        #: that again.
        self.gives_no_answer = False
        #: How often the flag was set: lets a refresh see what arrived while it ran.
        self.marks = 0
        #: Why the flag is up, each with the number of its last mark.
        self._reasons: dict[Reason, int] = {"first": 0}

    def is_due(self, now: float) -> bool:
        """Whether the token must be looked at before the next answer."""
        return self.dirty or now >= self.lease_until

    def mark_dirty(self, reason: Reason = "announced") -> None:
        """Put the URLs in doubt."""
        with self._lock:
            self.marks += 1
            self._reasons[reason] = self.marks
            self.dirty = True

    @property
    def reason(self) -> Reason:
        """Why the token must be looked at: the most telling of what has put it in doubt since the
        last look."""
        with self._lock:
            return min(self._reasons, key=REASONS.index, default="polled")

    @property
    def last_own(self) -> int:
        """The number of the last mark that a commit of this process has set, since the last look;
        -1 if there is none."""
        return self._reasons.get("own", -1)

    def settle(self, marks: int) -> None:
        """Clear the flag, unless it was set again since ``marks`` was read.

        The flag stays up while a refresh runs, so that other requests wait for its result
        instead of being answered from the URLs that it replaces.
        """
        with self._lock:
            self._reasons = {why: mark for why, mark in self._reasons.items() if mark > marks}
            if self.marks == marks:
                self.dirty = False

    def begin_to_hear(self, now: float) -> None:
        """Take note that something was started that will prove that changes are heard."""
        with self._lock:
            if self.heard_until is None:
                self.heard_until = now

    def extend_lease(self, until: float) -> None:
        """Vouch for the URLs until the given time, because changes are heard; never shortens."""
        with self._lock:
            self.lease_until = max(self.lease_until, until)
            self.heard_until = max(self.heard_until or 0.0, until)

    def put_off(self, until: float) -> None:
        """Have no other look before the given time, because there was one just now: a poll. It
        proves nothing of what is heard."""
        with self._lock:
            self.lease_until = max(self.lease_until, until)

    def expire_lease(self) -> None:
        """Vouch no more: from the next request on, poll."""
        with self._lock:
            self.lease_until = 0.0
            if self.heard_until is not None:
                self.heard_until = min(self.heard_until, time.monotonic())

    def unheard_for(self, now: float) -> float | None:
        """Return for how many seconds it has not been proved that changes are heard: 0.0 while it
        is; None if nothing was begun yet that could prove it."""
        with self._lock:
            return None if self.heard_until is None else max(0.0, now - self.heard_until)

    def reset_after_fork(self) -> None:
        """In a forked child: nothing here is proved. The parent's URLs were inherited, and with
        them the token that they were built from."""
        self._lock = threading.Lock()
        self._reasons = {"first" if self.applied is None else "forked": self.marks}
        self.dirty = True
        self.gives_no_answer = False
        self.lease_until = 0.0
        self.heard_until = None
