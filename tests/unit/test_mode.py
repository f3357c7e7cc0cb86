from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from cms_urlreload.mode import Mode, ModeTeller
from cms_urlreload.signals import mode_changed


@pytest.fixture
def told() -> Iterator[list[Mode]]:
    modes: list[Mode] = []

    def receive(mode: Mode, **kwargs: Any) -> None:
        modes.append(mode)

    mode_changed.connect(receive)
    yield modes
    mode_changed.disconnect(receive)


@pytest.fixture
def teller(caplog: pytest.LogCaptureFixture) -> ModeTeller:
    caplog.set_level(logging.INFO, "cms_urlreload.mode")
    return ModeTeller("nothing was started yet.")


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_at_first_it_polls_and_tells_nobody(
    teller: ModeTeller, told: list[Mode], caplog: Any
) -> None:
    assert (teller.current.name, teller.current.reason) == ("poll", "nothing was started yet.")
    assert (lines(caplog), told) == ([], [])


def test_each_change_is_one_line_and_one_signal(
    teller: ModeTeller, told: list[Mode], caplog: Any
) -> None:
    for _ in range(3):
        teller.push("listening.")
    for _ in range(3):
        teller.poll("the server went away.", "Wait.")
    teller.push("listening again.")
    assert lines(caplog) == [
        "Push: listening.",
        "Poll: the server went away. Wait.",
        "Push: listening again.",
    ]
    assert [mode.name for mode in told] == ["push", "poll", "push"]
    assert told[1].remedy == "Wait."
    assert teller.current is told[2]


def test_a_second_reason_is_a_line_and_no_change(
    teller: ModeTeller, told: list[Mode], caplog: Any
) -> None:
    for _ in range(3):
        teller.poll("terminated.")
        teller.poll("wrong password.")
    assert lines(caplog) == ["Poll: terminated.", "Poll: wrong password."]
    assert len(told) == 1
    assert teller.current.since == told[0].since


def test_a_reason_is_told_again__in_the_next_outage(teller: ModeTeller, caplog: Any) -> None:
    for _ in range(2):
        teller.poll("terminated.")
        teller.push("listening.")
    assert lines(caplog).count("Poll: terminated.") == 2


def test_what_is_meant_to_be_so__is_told_to_the_signal_alone(
    teller: ModeTeller, told: list[Mode], caplog: Any
) -> None:
    assert teller.poll("it is switched off.", level=logging.DEBUG)
    assert not teller.poll("it is switched off.", level=logging.DEBUG)
    assert lines(caplog) == []
    assert len(told) == 1


def test_a_forked_child_tells_its_own(teller: ModeTeller, told: list[Mode], caplog: Any) -> None:
    teller.push("listening.")
    teller.reset_after_fork()
    assert teller.current.name == "poll"
    teller.push("listening.")
    assert lines(caplog) == ["Push: listening."] * 2
    assert len(told) == 2


def test_a_receiver_that_fails_harms_nothing(teller: ModeTeller, caplog: Any) -> None:
    def fail(**kwargs: Any) -> None:
        raise ZeroDivisionError

    mode_changed.connect(fail)
    try:
        teller.push("listening.")
    finally:
        mode_changed.disconnect(fail)
    assert teller.current.name == "push"
    assert "ZeroDivisionError" in caplog.text
