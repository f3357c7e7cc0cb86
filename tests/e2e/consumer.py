"""What a site writes with this package, for its type checkers: tests/e2e/test_package.py has mypy
and pyright look at it beside the installed wheel. It is not run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from typing_extensions import assert_type

from cms_urlreload.conf import Settings, get_settings
from cms_urlreload.fleet import Worker
from cms_urlreload.history import Reload, last_reloads
from cms_urlreload.mode import Mode
from cms_urlreload.report import report_fleet
from cms_urlreload.signals import mode_changed, refresh_failed, urls_reloaded
from cms_urlreload.state import Reason, State, Token
from cms_urlreload.status import Status, get_status
from cms_urlreload.tasks import aensure_fresh, ensure_fresh
from cms_urlreload.testing import current_urls
from cms_urlreload.transports import Transport, register


class Doorbell(Transport):
    """A transport for a database of one's own."""

    def ensure_started(self) -> None:
        self.state.mark_dirty("listening")
        self.state.extend_lease(100.0)

    def announce(self, alias: str, reason: Reason = "own") -> None:
        print(alias, reason)


def on_mode_changed(mode: Mode, **kwargs: Any) -> None:
    print(mode.name, mode.reason, mode.remedy, mode.since.isoformat())


def on_urls_reloaded(pages: int, seconds: float, reason: Reason, **kwargs: Any) -> None:
    print(pages, seconds, reason)


def on_refresh_failed(error: Exception, **kwargs: Any) -> None:
    print(error)


def connect() -> None:
    mode_changed.connect(on_mode_changed)
    urls_reloaded.connect(on_urls_reloaded)
    refresh_failed.connect(on_refresh_failed)
    register("doorbell", Doorbell)


async def consume() -> None:
    ensure_fresh()
    await aensure_fresh()


def look() -> None:
    status = get_status()
    assert_type(status, Status)
    assert_type(status.served, str | None)
    assert_type(status.counters, Mapping[str, int])
    assert_type(last_reloads(), list[Reload])
    assert_type(report_fleet().behind, list[Worker])
    assert_type(get_settings(), Settings)
    assert_type(State().applied, Token | None)
    assert_type(State().reason, Reason)


def check_urls() -> None:
    with current_urls() as refresh:
        assert_type(refresh, Callable[[], None])
        refresh()
