from __future__ import annotations

import logging
import sys
from types import ModuleType
from typing import Any

import pytest

from cms_urlreload.conf import Settings
from cms_urlreload_pg import refusal as refusal_module
from cms_urlreload_pg.refusal import refusal


@pytest.fixture
def uwsgi(monkeypatch: Any) -> Any:
    """What uWSGI shows of itself, in a process of its own. (tests/e2e/test_servers.py has the real
    one.)"""
    module: Any = ModuleType("uwsgi")
    module.worker_id = lambda: 1
    module.has_threads = 1
    monkeypatch.setitem(sys.modules, "uwsgi", module)
    refusal_module._uwsgi.cache_clear()
    yield module
    refusal_module._uwsgi.cache_clear()


def test_it_may_listen() -> None:
    assert refusal(Settings(listen=True)) is None


def test_not_where_the_setting_says_so() -> None:
    found = refusal(Settings(listen=False))
    assert found is not None
    assert found.reason == "CMS_URLRELOAD['LISTEN'] is False."
    assert (found.level, found.is_meant) == (logging.DEBUG, True)


def test_not_in_a_test_run() -> None:
    found = refusal(Settings())
    assert found is not None
    assert "test run" in found.reason


def test_outside_of_a_test_run(monkeypatch: Any) -> None:
    monkeypatch.delattr("django.core.mail.outbox")
    assert refusal(Settings()) is None


def test_in_a_worker_of_uwsgi(uwsgi: Any) -> None:
    assert refusal(Settings(listen=True)) is None


def test_not_in_uwsgis_master(uwsgi: Any) -> None:
    uwsgi.worker_id = lambda: 0
    found = refusal(Settings(listen=True))
    assert found is not None
    assert "master" in found.reason


def test_not_in_uwsgi_without_threads__and_that_is_told(uwsgi: Any) -> None:
    uwsgi.has_threads = 0
    found = refusal(Settings(listen=True))
    assert found is not None
    assert "enable-threads" in found.remedy
    assert (found.level, found.is_meant) == (logging.WARNING, False)
