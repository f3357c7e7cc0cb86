"""Databases that cannot push: the same site follows by polling."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.demo.editor import Editor
from tests.demo.site import DemoSite
from tests.e2e.conftest import CONTROLS, Database, Fleet


class LiteDatabase(Database):
    def move(self, key: str, path: str, language: str = "en") -> None:
        self.sql(
            "UPDATE cms_pageurl SET path = %s WHERE page_id = %s AND language = %s",
            path,
            self.pages[key]["id"],
            language,
        )

    def sql(self, statement: str, *parameters: Any) -> list[Any]:
        connection = sqlite3.connect(self.dsn, timeout=20, isolation_level=None)
        try:
            return connection.execute(statement.replace("%s", "?"), parameters).fetchall()
        finally:
            connection.close()


@pytest.fixture
def lite(tmp_path: Path) -> Any:
    """Two workers on SQLite, with the interval of one second that is the default."""
    file = tmp_path / "site.sqlite3"
    with DemoSite(f"sqlite:///{file}", tmp_path, workers=2, env=CONTROLS) as site:
        yield Fleet(site, LiteDatabase(str(file), site.content))


def test_sqlite__a_second_process_is_right_within_the_interval(lite: Fleet) -> None:
    lite.ping()
    first, second = lite.workers
    editor = Editor(lite.site, worker=first)
    for number in range(3):
        path = f"/en/news-{number}/first-story/"
        editor.change_slug(lite.database.pages["news"]["id"], "en", f"news-{number}")
        changed = time.monotonic()
        # The one that made the change knows.
        assert lite.site.get(path, worker=first).status == 200
        # Whichever request of the other comes when the interval is over.
        threading.Event().wait(changed + 1.0 - time.monotonic())
        assert lite.site.get(path, worker=second).status == 200
        assert lite.site.get("/en/news/first-story/", worker=second).status == 404


def test_sqlite__what_nobody_announces_is_found(lite: Fleet) -> None:
    assert lite.statuses("/en/news/first-story/") == [200, 200]
    lite.database.move("news", "by-sql")
    lite.wait_for("/en/by-sql/first-story/", timeout=10)


def test_sqlite__interval_0_is_right_at_the_next_request(lite: Fleet, tmp_path: Path) -> None:
    lite.site.stop()
    env = {**CONTROLS, "DEMO_CMS_URLRELOAD": json.dumps({"POLL_INTERVAL": 0})}
    url = f"sqlite:///{lite.database.dsn}"
    with DemoSite(url, tmp_path, workers=2, prepare=False, env=env) as site:
        fleet = Fleet(site, lite.database)
        for number in range(5):
            fleet.database.move("news", f"news-{number}")
            assert fleet.statuses(f"/en/news-{number}/first-story/") == [200, 200]
