"""The last reloads of this process, for people. In memory, and only as many as fit on a screen."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timezone
from typing import Any, NamedTuple

from .signals import urls_reloaded
from .state import Reason

LENGTH = 20


class Reload(NamedTuple):
    """Other URLs were published."""

    at: datetime
    #: How many pages have had an apphook from then on.
    pages: int
    #: Resolvers that were copied.
    replaced: int
    milliseconds: float
    #: Why the process looked: one of cms_urlreload.state.REASONS.
    reason: Reason


_reloads: deque[Reload] = deque(maxlen=LENGTH)


def connect() -> None:
    """Begin to keep them; called once, by the app's ready()."""
    urls_reloaded.connect(on_urls_reloaded, dispatch_uid="cms_urlreload.history")


def on_urls_reloaded(
    pages: int, replaced: int, seconds: float, reason: Reason, **kwargs: Any
) -> None:
    """Keep it."""
    _reloads.append(Reload(datetime.now(timezone.utc), pages, replaced, seconds * 1000, reason))


def last_reloads() -> list[Reload]:
    """Return them, the last first."""
    # A copy first: another thread may add to it meanwhile.
    return list(reversed(_reloads.copy()))
