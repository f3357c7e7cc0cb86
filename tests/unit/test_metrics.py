from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from prometheus_client import REGISTRY

from cms_urlreload import metrics
from cms_urlreload.mode import ModeTeller
from cms_urlreload.signals import counted, mode_changed, refresh_failed, urls_reloaded
from cms_urlreload_pg.hearing import Counters

from .conftest import Process

Growth = Callable[..., float]


@pytest.fixture
def growth() -> Iterator[Growth]:
    """By how much a metric has grown since the beginning of the test."""
    before: dict[Any, float] = {(s.name, *sorted(s.labels.items())): s.value for s in samples()}

    def grown(name: str, **labels: str) -> float:
        value: float = REGISTRY.get_sample_value(name, labels) or 0.0
        return value - before.get((name, *sorted(labels.items())), 0.0)

    metrics.connect()
    yield grown
    for signal in (urls_reloaded, refresh_failed, mode_changed, counted):
        signal.disconnect(dispatch_uid="cms_urlreload.metrics")


def samples() -> Iterator[Any]:
    for metric in REGISTRY.collect():
        yield from metric.samples


def test_a_reload_is_counted__with_its_reason_and_how_long_it_took(
    process: Process, make_page: Any, growth: Growth
) -> None:
    make_page("news", "NewsApphook")
    process.refresh()
    make_page("events", "EventsApphook")
    process.state.mark_dirty("announced")
    process.refresh()
    assert growth("cms_urlreload_reloads_total", reason="first") == 1
    assert growth("cms_urlreload_reloads_total", reason="announced") == 1
    assert growth("cms_urlreload_token_reads_total") == 2
    assert growth("cms_urlreload_reload_duration_seconds_count") == 2


def test_looks_that_find_nothing_are_no_reloads(
    process: Process, make_page: Any, growth: Growth
) -> None:
    make_page("news", "NewsApphook")
    for _ in range(3):
        process.refresh()
        process.now += 1.0
    assert growth("cms_urlreload_token_reads_total") == 3
    assert growth("cms_urlreload_reload_duration_seconds_count") == 1


def test_an_unchanged_request_counts_nothing(
    process: Process, make_page: Any, growth: Growth
) -> None:
    make_page("news", "NewsApphook")
    process.refresh()
    for _ in range(100):
        process.refresh()
    assert growth("cms_urlreload_token_reads_total") == 1


def test_failures_are_counted__each_of_them(
    process: Process, monkeypatch: Any, growth: Growth
) -> None:
    def fail(alias: str) -> None:
        raise ZeroDivisionError("of the test")

    monkeypatch.setattr(process.transport, "read_token", fail)
    for _ in range(2):
        process.now += 100.0
        process.refresh()
    assert growth("cms_urlreload_refresh_failures_total") == 2
    assert growth("cms_urlreload_token_reads_total") == 0


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("notifications", "cms_urlreload_notifications_total"),
        ("heartbeats", "cms_urlreload_heartbeats_total"),
        ("missed", "cms_urlreload_missed_changes_total"),
    ],
)
def test_what_a_listener_counts(name: str, metric: str, growth: Growth) -> None:
    counters = Counters()
    for _ in range(3):
        counters.count(name)
    assert getattr(counters, name) == 3
    assert growth(metric) == 3


def test_the_mode_is_shown__as_it_changes(growth: Growth) -> None:
    teller = ModeTeller("nothing was started yet.")
    shown = []
    for change in (teller.poll, teller.push, teller.poll):
        change("of the test.")
        modes = ("push", "poll")
        shown.append([REGISTRY.get_sample_value("cms_urlreload_mode", {"mode": m}) for m in modes])
    assert shown == [[0, 1], [1, 0], [0, 1]]


def test_a_process_that_polls_on_purpose__shows_it_too(process: Process, growth: Growth) -> None:
    ModeTeller("of another process.").push("what another test may have left.")
    process.refresh()
    assert REGISTRY.get_sample_value("cms_urlreload_mode", {"mode": "poll"}) == 1
