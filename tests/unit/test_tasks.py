"""What processes without requests call, and what is called for them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import Any

import pytest
from django.db import connection
from django.dispatch import Signal

from cms_urlreload import process, task_signals, tasks
from cms_urlreload.state import State
from tests.support.postgres import replace_dbname

IMPORTS = """
import sys
from cms_urlreload.tasks import aensure_fresh, ensure_fresh
import cms_urlreload.task_signals
assert "cms" not in sys.modules and "celery" not in sys.modules
import django
django.setup()
assert "celery" not in sys.modules
from cms_urlreload.process import state
ensure_fresh()
assert state.applied is not None
"""


@pytest.fixture
def refreshed(monkeypatch: Any) -> list[str]:
    """The refreshes of a process with a state of its own."""
    refreshed: list[str] = []
    state = State()

    def refresh() -> None:
        refreshed.append("refresh")
        state.settle(state.marks)
        state.extend_lease(float("inf"))

    monkeypatch.setattr(process, "state", state)

    async def arefresh() -> None:
        refresh()

    monkeypatch.setattr(process, "refresh", refresh)
    monkeypatch.setattr(process, "arefresh", arefresh)
    return refreshed


def test_ensure_fresh__is_imported_before_the_apps_are_loaded(
    postgres: Any, transactional_db: None
) -> None:
    database = replace_dbname(postgres.dsn(), connection.settings_dict["NAME"])
    env = {**os.environ, "DEMO_DATABASE_URL": database}
    subprocess.run([sys.executable, "-c", IMPORTS], check=True, timeout=60, env=env)


def test_ensure_fresh__refreshes_only_what_is_due(refreshed: list[str]) -> None:
    for _ in range(3):
        tasks.ensure_fresh()
    assert len(refreshed) == 1
    process.state.mark_dirty()
    tasks.ensure_fresh()
    assert len(refreshed) == 2
    process.state.expire_lease()
    tasks.ensure_fresh()
    assert len(refreshed) == 3


def test_aensure_fresh__refreshes_only_what_is_due(refreshed: list[str]) -> None:
    async def consume() -> None:
        for _ in range(3):
            await tasks.aensure_fresh()

    asyncio.run(consume())
    assert len(refreshed) == 1


def test_connect__connects_celery__if_it_is_imported(
    monkeypatch: Any, refreshed: list[str]
) -> None:
    signals = pytest.importorskip("celery.signals")
    monkeypatch.setattr(signals, "task_prerun", Signal())
    monkeypatch.setitem(sys.modules, "celery", sys.modules["celery"])
    for _ in range(2):
        task_signals.connect()
    signals.task_prerun.send(sender=None, task_id="1", task=None, args=(), kwargs={})
    assert len(refreshed) == 1
    process.state.mark_dirty()
    signals.task_prerun.send(sender=None, task_id="2", task=None, args=(), kwargs={})
    assert len(refreshed) == 2


def test_connect__does_not_import_celery(monkeypatch: Any) -> None:
    monkeypatch.delitem(sys.modules, "celery", raising=False)
    task_signals.connect()
    assert "celery" not in sys.modules
