from __future__ import annotations

import os
from typing import Any

import pytest

from cms_urlreload import process as process_module
from cms_urlreload.memory import Bus, InMemoryTransport
from cms_urlreload.status import get_status


@pytest.fixture
def ours(process: Any, monkeypatch: Any) -> Any:
    """A process of its own, in the place of this one."""
    monkeypatch.setattr(process_module, "state", process.state)
    monkeypatch.setattr(process_module, "reloader", process.reloader)
    monkeypatch.setattr(process_module, "_transport", process.transport)
    return process


def test_before_the_first_request(ours: Any) -> None:
    status = get_status()
    assert (status.pid, status.mode.name) == (os.getpid(), "poll")
    assert (status.served, status.is_due, status.lease) == (None, True, 0.0)
    assert status.unheard_for is None
    assert (status.publications, status.failure, status.counters) == (0, None, {})


def test_after_it(ours: Any, make_page: Any) -> None:
    make_page("news", "NewsApphook")
    ours.refresh()
    status = get_status()
    assert status.served == ours.state.applied.short
    assert status.publications == 1


def test_after_a_failure(ours: Any, monkeypatch: Any) -> None:
    def fail(alias: str) -> None:
        raise ZeroDivisionError("of the test")

    monkeypatch.setattr(ours.transport, "read_token", fail)
    ours.refresh()
    assert get_status().failure == "ZeroDivisionError: of the test"


def test_in_push_mode(ours: Any) -> None:
    ours.transport.mode.push("listening.")
    ours.state.extend_lease(float("inf"))
    assert get_status().mode.name == "push"
    assert get_status().lease == float("inf")


def test_in_a_process_that_has_lost_its_connection(ours: Any, monkeypatch: Any) -> None:
    transport = InMemoryTransport(ours.state, Bus())
    monkeypatch.setattr(process_module, "_transport", transport)
    transport.ensure_started()
    assert get_status().unheard_for == 0.0
    transport.stop()
    before, after = get_status().unheard_for, get_status().unheard_for
    assert before is not None
    assert after is not None
    assert 0 < before < after < 60
