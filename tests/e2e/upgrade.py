"""One database with our triggers, upgraded from one django CMS to the next. ``make matrix`` runs
this, as it takes several environments: it is a test, and no ``test_*.py`` that one alone could run.

CMS_URLRELOAD_TEST_UPGRADE has the interpreters of the older environments, in their order; the last
step is made in the environment that this runs in.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.demo.site import ROOT, DemoSite
from tests.e2e.conftest import CONTROLS, Database, Fleet
from tests.e2e.lines import move_by_sql
from tests.support.postgres import Server, create_database, drop_database

VARIABLE = "CMS_URLRELOAD_TEST_UPGRADE"
ENVIRONMENTS = [*filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)), sys.executable]

MISSING = """
import cms
from django.db import connection
from cms_urlreload_pg import triggers
print(cms.__version__, *triggers.missing(connection, "apphooks"))
"""
#: Statements about the row of a page, which change something and change it back: (first, second).
ROUTING = {
    "URL": (
        "UPDATE cms_pageurl SET path = path || '-x' WHERE page_id = {page}",
        "UPDATE cms_pageurl SET path = replace(path, '-x', '') WHERE page_id = {page}",
    ),
    "place in the tree": (
        "UPDATE {tree} SET path = path || '0001' WHERE id = {node}",
        "UPDATE {tree} SET path = left(path, -4) WHERE id = {node}",
    ),
}
OF_AN_APPHOOK = {
    "namespace": (
        "UPDATE cms_page SET application_namespace = 'other' WHERE id = {page}",
        "UPDATE cms_page SET application_namespace = 'news' WHERE id = {page}",
    ),
    "apphook": (
        "UPDATE cms_page SET application_urls = NULL WHERE id = {page}",
        "UPDATE cms_page SET application_urls = 'NewsApphook' WHERE id = {page}",
    ),
}
PLAIN = {
    "login": ("UPDATE cms_page SET login_required = NOT login_required WHERE id = {page}",) * 2,
}


@pytest.fixture
def dsn(postgres: Server) -> Iterator[str]:
    name = f"upgrade_{os.getpid()}"
    yield create_database(postgres.dsn(), name)
    drop_database(postgres.dsn(), name)


def manage(python: str, dsn: str, *arguments: str) -> str:
    """Run a command of the site in an environment."""
    answer = subprocess.run(
        [python, "-m", "tests.demo.manage", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "DEMO_DATABASE_URL": dsn},
        check=False,
    )
    assert answer.returncode == 0, answer.stderr[-4000:]
    return answer.stdout


class Listener:
    """Somebody who listens, and another who writes."""

    def __init__(self, dsn: str) -> None:
        self._listening = psycopg.connect(dsn, autocommit=True)
        self._writing = psycopg.connect(dsn, autocommit=True)
        self._listening.execute("LISTEN apphooks")
        nodes = self._writing.execute("SELECT to_regclass('cms_treenode')").fetchone()
        assert nodes is not None
        self._has_nodes = nodes[0] is not None

    def hears(self, statement: str, key: str) -> bool:
        """Whether a statement about a page is announced: once, by a trigger."""
        page, node = self._ids(key)
        tree = "cms_treenode" if self._has_nodes else "cms_page"
        # Fixed statements of this module.
        command = statement.format(page=page, node=node, tree=tree).encode()
        assert self._writing.execute(command).rowcount
        # It is delivered with the answer to what is asked after the COMMIT, if not before.
        self._writing.execute("SELECT pg_notify('apphooks', 'end')")
        heard: list[str] = []
        for notification in self._listening.notifies(timeout=30):
            if notification.payload == "end":
                assert heard in ([], ["trigger"])
                return bool(heard)
            heard.append(notification.payload)
        raise AssertionError("not even our own notification was heard")

    def _ids(self, key: str) -> tuple[int, int]:
        """The page that has this URL, and the row that has its place in the tree."""
        column = "node_id" if self._has_nodes else "p.id"
        query = (
            f"SELECT p.id, {column} FROM cms_page p JOIN cms_pageurl u ON u.page_id = p.id "
            "WHERE replace(u.path, '-x', '') = %s AND u.language = 'en'"
        )
        row = self._writing.execute(query.encode(), [key]).fetchone()
        assert row is not None
        return row[0], row[1]

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *error: object) -> None:
        self._listening.close()
        self._writing.close()


def check_what_is_announced(dsn: str) -> None:
    with Listener(dsn) as listener:
        for what, statements in {**ROUTING, **OF_AN_APPHOOK}.items():
            assert [listener.hears(each, "news") for each in statements] == [True, True], what
        for what, statements in {**ROUTING, **PLAIN}.items():
            assert [listener.hears(each, "about") for each in statements] == [False, False], what
        for what, statements in PLAIN.items():
            assert [listener.hears(each, "news") for each in statements] == [False, False], what


def test_triggers__survive_each_upgrade_of_django_cms__and_tell_the_same(
    dsn: str, tmp_path: Path
) -> None:
    assert len(ENVIRONMENTS) > 1, f"{VARIABLE} has no older environment"
    first = ENVIRONMENTS[0]
    manage(first, dsn, "demo_content", "--migrate")
    seen = []
    for python in ENVIRONMENTS:
        if python != first:
            # What was there until now is what the migrations of django CMS meet.
            manage(python, dsn, "migrate", "-v", "0")
        version, *missing = manage(python, dsn, "shell", "-v", "0", "-c", MISSING).split()
        assert missing == [], version
        check_what_is_announced(dsn)
        seen.append(version)
    print(" -> ".join(seen))
    assert len({version.rpartition(".")[0] for version in seen}) >= 3

    follow(dsn, tmp_path)

    manage(sys.executable, dsn, "migrate", "cms_urlreload_pg", "zero", "-v", "0")
    with psycopg.connect(dsn) as connection:
        left = connection.execute(
            "SELECT proname FROM pg_proc WHERE starts_with(proname, 'cms_urlreload_')"
        )
        assert left.fetchall() == []


def follow(dsn: str, run_dir: Path) -> None:
    """Real workers, on the database that has come so far."""
    env = {**CONTROLS, "DEMO_CMS_URLRELOAD": '{"HEARTBEAT_INTERVAL": 600}'}
    site = DemoSite(dsn, run_dir, workers=2, env=env)
    site.prepare()  # nothing to do, but to say which pages there are
    with site:
        fleet = Fleet(site, Database(dsn, site.content))
        fleet.ping()
        fleet.wait_for_push()
        assert fleet.statuses("/en/news/first-story/") == [200, 200]
        move_by_sql(fleet.database, "news", "moved")
        fleet.wait_for("/en/moved/first-story/", timeout=10)
        assert fleet.statuses("/en/news/first-story/") == [404, 404]
