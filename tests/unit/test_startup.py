"""The start of a process, up to its first request, in a process of its own."""

from __future__ import annotations

from typing import Any

import pytest

from tests.bench.startup import start


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Any:
    # Nobody listens at its database's address: a query would end it.
    return start("ours", str(tmp_path_factory.mktemp("compiled")))


def test_it_makes_no_query_and_opens_no_connection(started: Any) -> None:
    assert started["connections"] == []


def test_it_starts_no_thread(started: Any) -> None:
    assert started["threads"] == ["MainThread"]


def test_it_imports_nothing_that_only_commands_and_the_admin_need(started: Any) -> None:
    ours = {name for name in started["modules"] if name.startswith("cms_urlreload")}
    assert "cms_urlreload.middleware" in ours
    assert not ours & {
        "cms_urlreload.report",
        "cms_urlreload.routes",
        "cms_urlreload_pg.examination",
        "cms_urlreload_pg.triggers",
        "cms_urlreload_pg.upkeep",
    }
