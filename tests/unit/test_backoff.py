from __future__ import annotations

from cms_urlreload.backoff import Backoff


def longest(low: float, high: float) -> float:
    return high


def test_next__doubles_up_to_the_cap() -> None:
    backoff = Backoff(first=1, cap=10, uniform=longest)
    assert [backoff.next() for _ in range(6)] == [1, 2, 4, 8, 10, 10]


def test_next__is_spread_over_the_upper_half() -> None:
    seen: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        seen.append((low, high))
        return low

    backoff = Backoff(first=1, cap=10, uniform=uniform)
    assert [backoff.next(), backoff.next()] == [0.5, 1]
    assert seen == [(0.5, 1), (1, 2)]


def test_next__never_overflows() -> None:
    backoff = Backoff(first=1, cap=10, uniform=longest)
    assert {backoff.next() for _ in range(5000)} == {1, 2, 4, 8, 10}


def test_reset__starts_again() -> None:
    backoff = Backoff(first=1, cap=10, uniform=longest)
    backoff.next()
    backoff.next()
    backoff.reset()
    assert backoff.next() == 1
