"""Waits for a condition with a deadline; there is no bare sleep in the tests.

Refuses to wait without a bound, and names what it waited for when the bound is reached.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T],
    timeout: float,
    what: str | Callable[[], str],
    *,
    interval: float = 0.02,
) -> T:
    """Return the first true value of ``condition()``, asked every ``interval`` seconds.

    Raise ``TimeoutError`` after ``timeout`` seconds. ``what`` completes "waited 5 s for ..."; a
    callable is asked only then, so that it can show the tail of a log.
    """
    deadline = time.monotonic() + timeout
    pause = threading.Event()
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            reason = what() if callable(what) else what
            raise TimeoutError(f"waited {timeout:g} s for {reason}")
        pause.wait(interval)
