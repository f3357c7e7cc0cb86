"""What one process knows of its own URLs: are they in doubt, until when are they vouched for, and
which state of the database were they built from. It asks nobody and decides nothing.
"""

from __future__ import annotations

import hashlib
import threading
from typing import NamedTuple


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

    __slots__ = ("_lock", "applied", "dirty", "lease_until", "marks")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: Something changed, or may have: look at the token before the next answer.
        self.dirty = True
        #: Until when (time.monotonic) it is proved that a change would have been heard.
        self.lease_until = 0.0
        #: The token that the published URLs were built from; None before the first build.
        self.applied: Token | None = None
        #: How often the flag was set: lets a refresh see what arrived while it ran.
        self.marks = 0

    def is_due(self, now: float) -> bool:
        """Whether the token must be looked at before the next answer."""
        return self.dirty or now >= self.lease_until

    def mark_dirty(self) -> None:
        """Put the URLs in doubt."""
        with self._lock:
            self.marks += 1
            self.dirty = True

    def settle(self, marks: int) -> None:
        """Clear the flag, unless it was set again since ``marks`` was read.

        The flag stays up while a refresh runs, so that other requests wait for its result
        instead of being answered from the URLs that it replaces.
        """
        with self._lock:
            if self.marks == marks:
                self.dirty = False

    def extend_lease(self, until: float) -> None:
        """Vouch for the URLs until the given time; never shortens."""
        with self._lock:
            self.lease_until = max(self.lease_until, until)

    def expire_lease(self) -> None:
        """Vouch no more: from the next request on, poll."""
        with self._lock:
            self.lease_until = 0.0

    def reset_after_fork(self) -> None:
        """In a forked child: nothing here is proved. The parent's URLs were inherited, and with
        them the token that they were built from."""
        self._lock = threading.Lock()
        self.dirty = True
        self.lease_until = 0.0
