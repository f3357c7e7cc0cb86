from __future__ import annotations

from cms_urlreload.pacing import Allowance


def test_nothing_is_owed_at_first() -> None:
    assert Allowance(burst=2, rate=1).ready_at() < 0


def test_a_burst_may_be_spent_at_once() -> None:
    allowance = Allowance(burst=2, rate=1)
    allowance.spend(2, now=10)
    assert allowance.ready_at() <= 10


def test_what_is_owed_comes_back_with_time() -> None:
    allowance = Allowance(burst=2, rate=0.5)
    allowance.spend(3, now=10)
    assert allowance.ready_at() == 12


def test_rest_gives_back_no_more_than_a_burst() -> None:
    allowance = Allowance(burst=2, rate=1)
    allowance.spend(2, now=10)
    allowance.spend(3, now=1000)
    assert allowance.ready_at() == 1001


def test_over_a_long_time__no_more_is_spent_than_the_rate() -> None:
    allowance = Allowance(burst=1, rate=0.25)
    now, spent = 0.0, 0.0
    while now < 1000:
        now = max(now, allowance.ready_at()) + 0.3  # each piece takes 0.3 seconds
        allowance.spend(0.3, now)
        spent += 0.3
    assert 0.24 < spent / now < 0.26


def test_a_clock_that_goes_back_gives_nothing() -> None:
    allowance = Allowance(burst=1, rate=1)
    allowance.spend(2, now=10)
    allowance.spend(1, now=5)
    assert allowance.ready_at() == 7
