from __future__ import annotations

from typing import Any

import pytest

from cms_urlreload.signals import counted
from cms_urlreload.state import State, Token
from cms_urlreload_pg.hearing import GRACE, HINTS_BURST, HINTS_RATE, Counters, Hearing

OLD, NEW = Token("1", "old"), Token("1", "new")


@pytest.fixture
def state() -> State:
    state = State()
    state.applied = OLD
    state.settle(state.marks)
    return state


@pytest.fixture
def counters() -> Counters:
    return Counters()


@pytest.fixture
def hearing(state: State, counters: Counters) -> Hearing:
    return Hearing(state, counters, 10.0)


def why(state: State) -> str:
    return state.reason


def settle(state: State) -> None:
    state.settle(state.marks)


def hear(hearing: Hearing, now: float, times: int = 1) -> None:
    for _ in range(times):
        hearing.notified(now, by_us=False)
        hearing.step(now)


def test_nothing_is_due__when_nothing_was_heard(hearing: Hearing) -> None:
    assert hearing.due == float("inf")


def test_the_first_notification_counts_at_once(hearing: Hearing, state: State) -> None:
    hear(hearing, now=5.0)
    assert state.dirty


def test_a_burst_counts_at_once_as_well(hearing: Hearing, state: State) -> None:
    for _ in range(HINTS_BURST):
        settle(state)
        hear(hearing, now=5.0)
        assert state.dirty


def test_a_flood_is_heard_so_many_times_a_second(
    hearing: Hearing, state: State, counters: Counters
) -> None:
    before = state.marks
    for millisecond in range(10_000):
        hear(hearing, now=5.0 + millisecond / 1000)
        hearing.step(5.0 + millisecond / 1000)
    marks = state.marks - before
    assert HINTS_BURST + 10 * HINTS_RATE - 2 <= marks <= HINTS_BURST + 10 * HINTS_RATE + 2
    assert counters.notifications == 10_000


def test_the_last_of_a_flood_is_never_lost(hearing: Hearing, state: State) -> None:
    hear(hearing, now=5.0, times=1000)
    settle(state)
    hear(hearing, now=5.0)
    assert not state.dirty
    assert 5.0 < hearing.due <= 5.0 + 1 / HINTS_RATE + 1e-9
    hearing.step(hearing.due)
    assert state.dirty


def test_after_a_flood_and_some_rest__the_first_counts_at_once_again(
    hearing: Hearing, state: State
) -> None:
    hear(hearing, now=5.0, times=1000)
    hearing.step(6.0)
    settle(state)
    hear(hearing, now=10.0)
    assert state.dirty


def test_our_own_is_in_this_process_already(
    hearing: Hearing, state: State, counters: Counters
) -> None:
    hearing.notified(5.0, by_us=True)
    hearing.step(5.0)
    assert not state.dirty
    assert counters.notifications == 0


def test_a_heartbeat_finds_what_nobody_announced(
    hearing: Hearing, state: State, counters: Counters, caplog: pytest.LogCaptureFixture
) -> None:
    hearing.beaten(NEW, 5.0)
    assert state.dirty
    hearing.step(5.0 + GRACE / 2)
    assert counters.missed == 0
    hearing.step(5.0 + GRACE)
    assert counters.missed == 1
    assert "nobody had announced it" in caplog.text


def test_a_heartbeat_suspects_nobody__whose_notification_comes_right_after(
    hearing: Hearing, counters: Counters
) -> None:
    hearing.beaten(NEW, 5.0)
    hear(hearing, now=5.0 + GRACE / 2)
    hearing.step(5.0 + GRACE)
    assert counters.missed == 0


def test_a_heartbeat_suspects_nobody__whose_notification_waits_in_a_flood(
    hearing: Hearing, state: State, counters: Counters
) -> None:
    hear(hearing, now=5.0, times=1000)
    settle(state)
    hear(hearing, now=5.0)
    hearing.beaten(NEW, 5.0)
    hearing.step(5.0 + GRACE)
    assert counters.missed == 0


def test_a_heartbeat_that_agrees__puts_nothing_in_doubt(hearing: Hearing, state: State) -> None:
    hearing.beaten(OLD, 5.0)
    assert not state.dirty
    assert hearing.due == float("inf")


class TestReason:
    @pytest.mark.parametrize(("asked", "reason"), [(False, "announced"), (True, "asked")])
    def test_of_a_notification(
        self, hearing: Hearing, state: State, asked: bool, reason: str
    ) -> None:
        hearing.notified(5.0, by_us=False, asked=asked)
        hearing.step(5.0)
        assert why(state) == reason

    def test_of_a_reload_that_was_asked_for__and_of_the_trigger_beside_it(
        self, hearing: Hearing, state: State
    ) -> None:
        hearing.notified(5.0, by_us=False)
        hearing.notified(5.0, by_us=False, asked=True)
        hearing.notified(5.0, by_us=False)
        hearing.step(5.0)
        assert why(state) == "asked"
        settle(state)
        hear(hearing, now=6.0)
        assert why(state) == "announced"

    def test_of_what_a_heartbeat_found(self, hearing: Hearing, state: State) -> None:
        hearing.beaten(NEW, 5.0)
        assert why(state) == "heartbeat"

    def test_of_what_was_announced__and_is_not_on_the_replica_yet(
        self, hearing: Hearing, state: State
    ) -> None:
        hear(hearing, now=5.0)
        settle(state)
        hearing.beaten(NEW, 5.5)
        assert why(state) == "announced"


def test_what_is_counted_is_told(hearing: Hearing) -> None:
    told: list[str] = []

    def receive(name: str, **kwargs: Any) -> None:
        told.append(name)

    counted.connect(receive)
    try:
        hearing.beaten(NEW, 5.0)
        hearing.step(5.0 + GRACE)
        hear(hearing, now=7.0)
    finally:
        counted.disconnect(receive)
    assert told == ["heartbeats", "missed", "notifications"]
