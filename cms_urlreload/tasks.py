"""For processes that answer no HTTP requests: task workers, consumers, long-running commands."""

from __future__ import annotations

from time import monotonic

from asgiref.sync import sync_to_async

from .process import refresh, state


def ensure_fresh() -> None:
    """Bring the apphook URLs of this process up to date, so that the next ``reverse()`` is right.

    What the middleware does at each request: call it at the start of each task. It costs less
    than a microsecond if nothing changed, and raises nothing. Inside a transaction it does
    nothing, because what can be read there may never be committed.
    """
    if state.is_due(monotonic()):
        refresh()


async def aensure_fresh() -> None:
    """The same for asynchronous code; it does not block the event loop."""
    if state.is_due(monotonic()):
        await sync_to_async(refresh, thread_sensitive=True)()
