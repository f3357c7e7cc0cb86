"""What this process can say of itself: for a readiness check, a log, a person. Asks nobody."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic

from . import process
from .mode import Mode


@dataclass(frozen=True)
class Status:
    """One process, at one moment."""

    pid: int
    #: Whether it is told of changes or asks, since when, and why.
    mode: Mode
    #: The short form of the token that its URLs were built from; None before the first build.
    served: str | None
    #: Whether it will look at the token before its next answer.
    is_due: bool
    #: Seconds for which it is still proved that a change would be heard; 0.0 if that is over.
    lease: float
    #: Seconds since when that it would be told of one is not proved; 0.0 while it is. None if it
    #: is not meant to be told, or has not begun to listen.
    unheard_for: float | None
    #: How often it has published other URLs.
    publications: int
    #: What its urlconfs do with the patterns of django CMS that cannot be followed: they are
    #: imported again at each change.
    urlconfs: tuple[str, ...]
    #: Why its last refresh failed; None if it did not.
    failure: str | None
    #: What the transport has counted: in push mode ``notifications``, ``heartbeats``, ``missed``.
    counters: Mapping[str, int]


def get_status() -> Status:
    """Return the status of this process."""
    state, now = process.state, monotonic()
    transport = process.get_transport()
    return Status(
        pid=os.getpid(),
        mode=transport.mode.current,
        served=state.applied.short if state.applied is not None else None,
        is_due=state.is_due(now),
        lease=max(0.0, state.lease_until - now),
        unheard_for=transport.unheard_for(now),
        publications=process.reloader.publications,
        urlconfs=process.reloader.findings,
        failure=process.reloader.failure,
        counters=transport.counters(),
    )
