from __future__ import annotations

import threading

from cms_urlreload.state import State, Token


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
