"""Waiting times between attempts that fail: exponential, capped, with jitter. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """Gives the time to wait before each next attempt.

    :param first: seconds before the second attempt, at most.
    :param cap: no wait is longer, in seconds.
    :param uniform: returns a number between its two arguments; the source of the jitter.
    """

    def __init__(
        self,
        first: float,
        cap: float,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._first = first
        self._cap = cap
        self._uniform = uniform
        self._failures = 0

    def next(self) -> float:
        """Return the seconds to wait now: between half of the current step and all of it, so that
        many workers that lost one server do not come back in one moment."""
        # 2.0**n overflows at 1024 failures in a row; the cap is reached long before.
        step = min(self._cap, self._first * 2.0 ** min(self._failures, 32))
        self._failures += 1
        return self._uniform(step / 2, step)

    def reset(self) -> None:
        """Forget the failures. Call it once things were seen to work, not when they were begun."""
        self._failures = 0
