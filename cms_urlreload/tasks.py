"""For processes that answer no HTTP requests: task workers, consumers, long-running commands.

May be imported before Django's apps are loaded, say at the top of a ``celery.py``: the rest of
this package is imported at the first call.
"""

from __future__ import annotations

import functools
from time import monotonic
from types import ModuleType


@functools.cache
def _process() -> ModuleType:
    """What needs models; remembered, because an import statement costs more than the call."""
    from . import process

    return process


def ensure_fresh() -> None:
    """Bring the apphook URLs of this process up to date, so that the next ``reverse()`` is right.

    What the middleware does at each request: call it at the start of each piece of work. Tasks of
    Celery and of Django need not (see :mod:`cms_urlreload.task_signals`). It costs less than a
    microsecond if nothing changed. Inside a transaction it does nothing, because what can be read
    there may never be committed. Whatever the database says, it raises nothing.

    :raises AppRegistryNotReady: if it is called before ``django.setup()``.
    """
    process = _process()
    if process.state.is_due(monotonic()):
        process.refresh()


async def aensure_fresh() -> None:
    """The same for asynchronous code: call it for each message of a consumer. It does not block
    the event loop."""
    process = _process()
    if process.state.is_due(monotonic()):
        await process.arefresh()
