"""PostgreSQL by psycopg2, where psycopg 3 is not installed: the site works, by poll, and is told
what to install. ``make matrix`` runs this, as it takes a second environment: it is a test, and no
``test_*.py``.

CMS_URLRELOAD_TEST_PSYCOPG2 has the interpreter of that environment, which the site's processes run
in.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.demo.editor import Editor
from tests.demo.site import ROOT, DemoSite
from tests.e2e.conftest import CONTROLS, Database, Fleet
from tests.support.postgres import Server, create_database, drop_database
from tests.support.waiting import wait_until

VARIABLE = "CMS_URLRELOAD_TEST_PSYCOPG2"
DRIVERS = """
from importlib.util import find_spec
print(*(name for name in ("psycopg", "psycopg2") if find_spec(name)))
"""
#: Longest time, in seconds, between two looks, as is the default; and what a look may take.
INTERVAL = 1.0 + 4.0


@pytest.fixture
def dsn(postgres: Server) -> Iterator[str]:
    name = f"psycopg2_{secrets.token_hex(4)}"
    yield create_database(postgres.dsn(), name)
    drop_database(postgres.dsn(), name)


@pytest.fixture
def site(dsn: str, tmp_path: Path, monkeypatch: Any) -> DemoSite:
    """Prepared by psycopg2 too, and not started."""
    # What DemoSite starts each of its processes with.
    monkeypatch.setattr(sys, "executable", os.environ[VARIABLE])
    site = DemoSite(dsn, tmp_path, workers=2, env=CONTROLS)
    site.prepare()
    return site


def check(site: DemoSite, *options: str) -> str:
    """What ``manage.py check`` says."""
    answer = subprocess.run(
        [sys.executable, "-m", "tests.demo.manage", "check", *options],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env=site.environment,
        check=True,
    )
    return answer.stdout + answer.stderr


def test_a_site_without_psycopg3__polls__and_is_told_what_to_install(site: DemoSite) -> None:
    assert site.manage("shell", "-v", "0", "-c", DRIVERS).split() == ["psycopg2"]
    said = check(site)
    assert "(cms_urlreload_pg.W001)" in said
    assert "psycopg 3.2.10 or newer is not installed. The database is polled instead." in said
    assert 'pip install "django-cms-urlreload[postgres]"' in said

    with site:
        database = Database(site.environment["DEMO_DATABASE_URL"], site.content)
        fleet = Fleet(site, database)
        first, second = fleet.workers
        assert fleet.statuses("/en/news/first-story/") == [200, 200]
        editor = Editor(site, first)
        editor.change_slug(site.content["news"]["id"], "en", "edited")
        # The one that made the change knows.
        assert site.get("/en/edited/first-story/", worker=first).status == 200
        wait_until(
            lambda: site.get("/en/edited/first-story/", worker=second).status == 200,
            INTERVAL,
            "the other to look",
        )
        database.move("news", "by-sql")
        fleet.wait_for("/en/by-sql/first-story/", timeout=INTERVAL)
        assert fleet.statuses("/en/edited/first-story/") == [404, 404]
        assert fleet.reverse("news:story-list") == ["/en/by-sql/"] * 2
        assert database.fleet() == []
        # Each worker says it, once.
        assert fleet.log.count("Poll: cms_urlreload_pg cannot listen: psycopg 3.2.10") == 2
        assert "Traceback" not in fleet.log


def test_triggers__are_put_in_by_psycopg2__for_those_who_listen(site: DemoSite, dsn: str) -> None:
    assert "W005" not in check(site, "--database", "default")
    with (
        psycopg.connect(dsn, autocommit=True) as listening,
        psycopg.connect(dsn, autocommit=True) as writing,
    ):
        listening.execute("LISTEN apphooks")
        writing.execute("UPDATE cms_pageurl SET path = 'moved' WHERE path = 'news'")
        [heard] = listening.notifies(timeout=10, stop_after=1)
        assert heard.payload == "trigger"
    site.manage("migrate", "cms_urlreload_pg", "zero")
    assert "W005" in check(site, "--database", "default")


def test_a_role_that_may_not_create_triggers__is_told_so_by_psycopg2_as_well(
    site: DemoSite, dsn: str
) -> None:
    site.manage("migrate", "cms_urlreload_pg", "zero")
    role = f"migrator_{secrets.token_hex(4)}"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role}".encode())
        connection.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}".encode())
        connection.execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}".encode())
    migrating = subprocess.run(
        [sys.executable, "-m", "tests.demo.manage", "migrate"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env={**site.environment, "PGOPTIONS": f"-c role={role}"},
        check=False,
    )
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"DROP OWNED BY {role}".encode())
        connection.execute(f"DROP ROLE {role}".encode())
    assert migrating.returncode == 0, migrating.stderr
    assert "could not be put into the database 'default'" in migrating.stderr
