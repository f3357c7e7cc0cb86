"""How much may be spent, in a burst and for ever: an allowance that refills. Pure; the time is
passed in."""

from __future__ import annotations


class Allowance:
    """A bucket of tokens (in the sense of networks, not of :mod:`cms_urlreload.token`).

    :param burst: what may be spent at once, when nothing was for long.
    :param rate: what comes back in a second.
    """

    def __init__(self, burst: float, rate: float) -> None:
        self._burst = burst
        self._rate = rate
        self._left = burst
        self._at = float("-inf")

    def spend(self, amount: float, now: float) -> None:
        """Take an amount, also one that is more than what is left: it is owed then."""
        self._left = self._left_at(now) - amount
        self._at = now

    def ready_at(self) -> float:
        """Return the time from which on nothing is owed."""
        if self._left >= 0:
            return self._at
        return self._at - self._left / self._rate

    def _left_at(self, now: float) -> float:
        return min(self._burst, self._left + max(0.0, now - self._at) * self._rate)
