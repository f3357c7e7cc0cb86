from __future__ import annotations

import threading
import time

import pytest

from cms_urlreload.state import REASONS, Reason, State, Token


def test_state__is_due_at_first() -> None:
    state = State()
    state.extend_lease(100)
    assert state.is_due(0)
    state.settle(state.marks)
    assert not state.is_due(0)


def test_state__is_due_from_the_end_of_the_lease_on() -> None:
    state = State()
    state.settle(state.marks)
    state.extend_lease(100)
    assert not state.is_due(99.9)
    assert state.is_due(100)


def test_settle__keeps_the_flag__when_something_was_marked_since() -> None:
    state = State()
    marks = state.marks
    state.mark_dirty()
    state.settle(marks)
    assert state.dirty


def test_extend_lease__never_shortens() -> None:
    state = State()
    state.extend_lease(100)
    state.extend_lease(50)
    assert state.lease_until == 100


def test_expire_lease__asks_for_a_poll() -> None:
    state = State()
    state.settle(state.marks)
    state.extend_lease(100)
    state.expire_lease()
    assert state.is_due(1)


def test_reset_after_fork__proves_nothing__and_does_not_wait_for_a_lock() -> None:
    state = State()
    state.applied = Token("r", "d")
    state.settle(state.marks)
    state.extend_lease(100)
    state._lock.acquire()  # by a thread that does not exist in the child
    state.reset_after_fork()
    state.mark_dirty()
    assert state.is_due(0)
    assert state.applied == Token("r", "d")


def test_marks__are_all_counted__by_many_threads() -> None:
    state = State()

    def mark() -> None:
        for _ in range(1000):
            state.mark_dirty()

    threads = [threading.Thread(target=mark) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert state.marks == 8000


def test_token__has_a_short_form_for_people() -> None:
    tokens = [Token("", "d"), Token("r", "d"), Token("r", "e"), Token("rd", "")]
    assert len({token.short for token in tokens}) == 4
    assert {len(token.short) for token in tokens} == {8}


def why(state: State) -> str:
    return state.reason


def test_reason__is_the_first_look__at_first() -> None:
    state = State()
    state.mark_dirty("listening")
    assert why(state) == "first"


def test_reason__is_the_poll__when_nothing_was_marked() -> None:
    state = State()
    state.settle(state.marks)
    assert why(state) == "polled"


@pytest.mark.parametrize("order", [1, -1])
def test_reason__is_the_most_telling_of_several__in_whatever_order(order: int) -> None:
    state = State()
    state.settle(state.marks)
    reasons: list[Reason] = ["own", "announced"]
    for reason in reasons[::order]:
        state.mark_dirty(reason)
    assert why(state) == "own"
    assert REASONS.index("own") < REASONS.index("announced")


def test_reason__is_of_what_came_since__when_something_was_marked_during_a_look() -> None:
    state = State()
    state.settle(state.marks)
    state.mark_dirty("own")
    marks = state.marks
    state.mark_dirty("announced")
    assert why(state) == "own"
    state.settle(marks)
    assert why(state) == "announced"
    state.settle(state.marks)
    assert why(state) == "polled"


@pytest.mark.parametrize(("applied", "reason"), [(None, "first"), (Token("r", "d"), "forked")])
def test_reason__in_a_forked_child(applied: Token | None, reason: str) -> None:
    state = State()
    state.applied = applied
    state.settle(state.marks)
    state.mark_dirty("own")
    state.reset_after_fork()
    assert why(state) == reason


def test_unheard_for__is_unknown__until_something_was_begun() -> None:
    state = State()
    assert state.unheard_for(100) is None
    state.put_off(200)  # a poll proves nothing
    assert state.unheard_for(100) is None
    state.begin_to_hear(100)
    state.begin_to_hear(105)  # it was begun, and another try is no progress
    assert state.unheard_for(110) == 10


def test_unheard_for__counts_from_the_end_of_the_lease__whoever_polls_meanwhile() -> None:
    state = State()
    state.begin_to_hear(100)
    state.extend_lease(120)
    assert state.unheard_for(110) == 0
    state.put_off(190)
    assert state.unheard_for(150) == 30
    state.extend_lease(200)
    assert state.unheard_for(151) == 0


def test_unheard_for__counts_from_the_loss() -> None:
    state = State()
    now = time.monotonic()
    state.begin_to_hear(now)
    state.extend_lease(now + 1000)
    state.expire_lease()
    assert 9 <= (state.unheard_for(now + 10) or 0) <= 10


def test_unheard_for__is_unknown__in_a_forked_child() -> None:
    state = State()
    state.extend_lease(100)
    state.reset_after_fork()
    assert state.unheard_for(1000) is None
