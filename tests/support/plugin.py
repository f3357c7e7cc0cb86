"""The pytest plugin that gives the whole run one PostgreSQL server, and sets Django up on it.

Loaded by ``-p`` (pyproject.toml), because both must be there before the first conftest imports a
model.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

import django
import pytest

from tests.support.postgres import Server, provide_server

_stack = contextlib.ExitStack()
_SERVER = pytest.StashKey[Server]()


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    server: Server = _stack.enter_context(provide_server())
    early_config.stash[_SERVER] = server
    os.environ["DEMO_DATABASE_URL"] = server.dsn()
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what does not apply to the installed django CMS (tests/support/versions.py). Not
    skipped: no machine could run it."""
    out = [
        item for item in items if not all(mark.args[0] for mark in item.iter_markers("cms_version"))
    ]
    if out:
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if item not in out]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where everything is required, a test that was skipped is a test that failed."""
    reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CMS_URLRELOAD_TEST_ALL") and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure() -> None:
    _stack.close()


def pytest_report_header(config: pytest.Config) -> str:
    return f"database: {config.stash[_SERVER].description}"


@pytest.fixture(scope="session")
def postgres(pytestconfig: pytest.Config) -> Server:
    """The server that the tests of one process share. Not to be stopped."""
    return pytestconfig.stash[_SERVER]
