"""Moving in from django CMS's own middleware, beside it, and out again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.demo.editor import Editor
from tests.demo.site import ROOT, DemoSite
from tests.e2e.conftest import CONTROLS, Database, Fleet

#: django CMS's middleware reloads the root urlconf, so that has to include cms.urls itself.
FLAT = {"DEMO_ROOT_URLCONF": "tests.e2e.controls.flat_urls"}
#: Nothing but push finds a change in time.
PUSH_ONLY = {"HEARTBEAT_INTERVAL": 600, "POLL_INTERVAL": 600}
CHANGES = 12


@pytest.fixture
def start_core(database: Database, tmp_path: Path) -> Iterator[Callable[..., Fleet]]:
    """Start two workers with django CMS's own middleware, and nothing of this package."""
    run_dir = tmp_path / "core"
    run_dir.mkdir()
    env = {**CONTROLS, **FLAT, "DEMO_RELOAD": "core"}
    site = DemoSite(database.dsn, run_dir, workers=2, prepare=False, env=env)

    def make() -> Fleet:
        site.start()
        return Fleet(site, database)

    yield make
    site.stop()


@pytest.fixture
def core(start_core: Callable[..., Fleet]) -> Fleet:
    fleet = start_core()
    assert fleet.statuses("/en/news/first-story/") == [200, 200]
    return fleet


@pytest.fixture
def ours(start: Callable[..., Fleet]) -> Fleet:
    fleet = start(workers=2, urlreload=PUSH_ONLY, env=FLAT)
    fleet.ping()
    fleet.wait_for_push()
    return fleet


def revision(database: Database) -> Any:
    return database.sql("SELECT revision FROM cms_urlconfrevision")


class TestBesideWorkersOfDjangoCms:
    def test_both_stay_right__whoever_makes_the_change(
        self, core: Fleet, ours: Fleet, database: Database
    ) -> None:
        page = database.pages["news"]["id"]
        editors = [Editor(side.site, worker=side.workers[0]) for side in (core, ours)]
        slug, gone = "news", ""
        for number in range(CHANGES):
            editor = editors[number // 3 % 2]
            if number % 3 == 0:
                slug, gone = f"news-{number}", slug
                editor.change_slug(page, "en", slug)
                expected = {f"/en/{slug}/first-story/": 200, f"/en/{gone}/first-story/": 404}
            elif number % 3 == 1:
                editor.detach_apphook(page)
                expected = {f"/en/{slug}/first-story/": 404}
            else:
                editor.attach_apphook(page, "NewsApphook", "news")
                expected = {f"/en/{slug}/first-story/": 200}
            for path, status in expected.items():
                # django CMS writes its revision when the response was sent, so a little later.
                core.wait_for(path, status, timeout=10)
                ours.wait_for(path, status, timeout=10)
        ours.wait_for_push()
        assert ours.polling() == set()

    def test_our_workers_write_no_revision_by_themselves(
        self, core: Fleet, ours: Fleet, database: Database
    ) -> None:
        """Each one has all workers of django CMS reload."""
        before = revision(database)
        assert before
        database.move_and_notify("news", "moved")
        ours.wait_for("/en/moved/first-story/")
        ours.wait_for_push()
        assert revision(database) == before

    def test_what_django_cms_does_not_notice__reaches_ours__and_its_own_by_the_command(
        self, core: Fleet, ours: Fleet, database: Database
    ) -> None:
        page = database.pages["news"]["id"]
        old, new = "/en/news/first-story/", "/en/elsewhere/first-story/"
        Editor(ours.site, worker=ours.workers[0]).set_overwrite_url(page, "en", "elsewhere")
        ours.wait_for(new, timeout=10)
        assert ours.statuses(old) == [404, 404]
        # No worse than it was: to django CMS nothing has happened.
        assert core.statuses(new) == [404, 404]
        ours.site.manage("urlreload", "reload", "--wait", "20")
        core.wait_for(new, timeout=10)
        assert core.statuses(old) == [404, 404]

    def test_a_rolling_deployment__in_the_middle_of_changes(
        self, core: Fleet, start: Callable[..., Fleet], database: Database
    ) -> None:
        page = database.pages["news"]["id"]
        Editor(core.site, worker=core.workers[0]).change_slug(page, "en", "first")
        core.wait_for("/en/first/first-story/", timeout=10)
        ours = start(workers=2, urlreload=PUSH_ONLY, env=FLAT)
        assert ours.statuses("/en/first/first-story/") == [200, 200]
        ours.wait_for_push()
        Editor(core.site, worker=core.workers[1]).change_slug(page, "en", "second")
        core.wait_for("/en/second/first-story/", timeout=10)
        ours.wait_for("/en/second/first-story/", timeout=10)
        core.site.stop()
        Editor(ours.site, worker=ours.workers[0]).change_slug(page, "en", "third")
        ours.wait_for("/en/third/first-story/", timeout=10)


LEFT = {
    "triggers": "SELECT tgname FROM pg_trigger WHERE tgname LIKE 'cms_urlreload%'",
    "functions": "SELECT proname FROM pg_proc WHERE proname LIKE 'cms_urlreload%'",
    "tables": "SELECT relname FROM pg_class WHERE relname LIKE 'cms_urlreload%'",
    "permissions": "SELECT codename FROM auth_permission p JOIN django_content_type t "
    "ON t.id = p.content_type_id WHERE app_label LIKE 'cms_urlreload%'",
    "content types": "SELECT model FROM django_content_type WHERE app_label LIKE 'cms_urlreload%'",
    "migrations": "SELECT name FROM django_migrations WHERE app LIKE 'cms_urlreload%'",
}


def left(database: Database) -> dict[str, list[Any]]:
    """What there is of ours in a database."""
    found = {what: database.sql(statement) for what, statement in LEFT.items()}
    return {what: rows for what, rows in found.items() if rows}


class TestMovingOut:
    def test_nothing_is_left__and_the_site_works_with_django_cms(
        self, start_core: Callable[..., Fleet], database: Database, tmp_path: Path
    ) -> None:
        assert left(database).keys() == LEFT.keys() - {"tables"}
        site = DemoSite(database.dsn, tmp_path, prepare=False)
        # A group has one of the permissions; it loses that, and nothing else.
        database.sql("INSERT INTO auth_group (name) VALUES ('editors')")
        database.sql(
            "INSERT INTO auth_group_permissions (group_id, permission_id) SELECT g.id, p.id "
            "FROM auth_group g, auth_permission p WHERE codename IN ('reload_urls', 'add_page')"
        )
        for command in out_commands():
            site.manage(*command)
        assert left(database) == {}
        assert database.sql("SELECT count(*) FROM auth_group_permissions") == [(1,)]

        core = start_core()
        page = database.pages["news"]["id"]
        assert core.statuses("/en/news/first-story/") == [200, 200]
        editor = Editor(core.site, worker=core.workers[0])
        editor.change_slug(page, "en", "after")
        core.wait_for("/en/after/first-story/", timeout=10)
        # And in again.
        site.manage("migrate")
        assert left(database).keys() == LEFT.keys() - {"tables"}

    def test_the_statements_of_the_docs__take_the_triggers_out_by_hand(
        self, database: Database
    ) -> None:
        """For somebody who has uninstalled the package first."""
        [statement] = blocks("postgres")
        database.sql(statement)
        assert left(database).keys().isdisjoint({"triggers", "functions"})


def blocks(language: str) -> list[str]:
    """The code of a language in docs/moving.md."""
    text = (ROOT / "docs" / "moving.md").read_text()
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)


def out_commands() -> list[list[str]]:
    """The commands of docs/moving.md by which one moves out."""
    lines = "\n".join(blocks("console")).splitlines()
    prompt = "$ python manage.py "
    commands = [line.strip().removeprefix(prompt).split() for line in lines if prompt in line]
    return [
        words for words in commands if words[-1] == "zero" and words[1] != "aldryn_apphook_reload"
    ]
