"""Rows that an apphook's own get_urls() reads: a save of one reaches every worker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.demo.editor import ADMIN, Editor
from tests.demo.site import DemoSite
from tests.e2e.conftest import CONTROLS, Database, Fleet
from tests.e2e.lines import LineProcess, environment, shell
from tests.e2e.test_poll import LiteDatabase
from tests.support.waiting import wait_until

SECTIONS = "tests.e2e.controls tests.e2e.sections"
SECTIONS_SETTING = {"CONFIG_MODELS": ["sections.Section"]}
SECTION_ADMIN = f"{ADMIN}/sections/section"
READ_TOKEN = """
from cms_urlreload.process import get_transport
print(get_transport().read_token("default").short)
"""
OPEN_TRANSACTION = """
from django.db import transaction
from tests.e2e.sections.models import Section
with transaction.atomic():
    Section.objects.create(slug="open")
    print("open", flush=True)
    end = input()
    if end == "rollback":
        transaction.set_rollback(True)
print(end, flush=True)
"""


def begin(start: Any, database: Database, tmp_path: Path, apps: str, **urlreload: Any) -> Fleet:
    env = {**CONTROLS, "DEMO_EXTRA_APPS": apps}
    DemoSite(database.dsn, tmp_path, prepare=False, env=env).manage("migrate")
    urlreload = {"HEARTBEAT_INTERVAL": 600, **urlreload}
    fleet: Fleet = start(workers=2, urlreload=urlreload, env=env)
    # The token is made of these rows too, of apps that only the site has.
    fleet.token = lambda: fleet.site.manage("shell", "-c", READ_TOKEN).split()[-1]  # type: ignore[method-assign]
    fleet.ping()
    fleet.wait_for_push()
    return fleet


@pytest.fixture
def fleet(start: Any, database: Database, tmp_path: Path) -> Fleet:
    """Two workers with an apphook of no URLs yet."""
    fleet = begin(start, database, tmp_path, SECTIONS, **SECTIONS_SETTING)
    Editor(fleet.site).attach_apphook(database.pages["about"]["id"], "SectionsApphook", "sections")
    fleet.wait_for_push()
    return fleet


@pytest.fixture
def env(database: Database) -> dict[str, str]:
    return environment(database.dsn, SECTIONS, **SECTIONS_SETTING)


def test_rows_are_routed_by_all_workers(fleet: Fleet, env: dict[str, str]) -> None:
    editor = Editor(fleet.site, fleet.workers[0])
    editor.submit(f"{SECTION_ADMIN}/add/", {"slug": "first"})
    fleet.wait_for_push()
    assert fleet.statuses("/en/about/first/") == [200, 200]
    assert fleet.reverse("sections:first") == ["/en/about/first/"] * 2

    [(row,)] = fleet.database.sql("SELECT id FROM sections_section")
    editor.submit(f"{SECTION_ADMIN}/{row}/change/", {"slug": "other"})
    fleet.wait_for_push()
    assert fleet.statuses("/en/about/other/") == [200, 200]
    assert fleet.statuses("/en/about/first/") == [404, 404]

    editor.submit(f"{SECTION_ADMIN}/{row}/delete/", {"post": "yes"})
    fleet.wait_for_push()
    assert fleet.statuses("/en/about/other/") == [404, 404]

    # By a process that answers no request, and without a transaction.
    shell(env, "from tests.e2e.sections.models import Section; Section(slug='shell').save()")
    fleet.wait_for("/en/about/shell/", timeout=5)
    # All other apphooks keep their resolvers, and their URLs.
    assert fleet.statuses("/en/news/first-story/") == [200, 200]
    assert "found by the heartbeat" not in fleet.log


def test_an_open_transaction_is_not_seen__and_leaves_no_worker_stale(
    fleet: Fleet, env: dict[str, str], tmp_path: Path
) -> None:
    """The workers build their URLs again while the row is written and not committed."""
    for end in ("rollback", "commit"):
        command = ("-m", "tests.demo.manage", "shell", "-v", "0", "-c", OPEN_TRANSACTION)
        with LineProcess(tmp_path / f"{end}.log", env, *command) as writer:
            assert writer.hear() == ["open"]
            before = fleet.reloads()
            fleet.database.move("events", f"events-{end}")
            fleet.database.notify()
            fleet.wait_for(f"/en/events-{end}/sprint/")
            assert fleet.reloads() > before
            assert fleet.statuses("/en/about/open/") == [404, 404]
            assert writer.ask(end) == end
        if end == "rollback":
            fleet.wait_for_push()
            assert fleet.statuses("/en/about/open/") == [404, 404]
    fleet.wait_for("/en/about/open/", timeout=5)
    assert fleet.reverse("sections:open") == ["/en/about/open/"] * 2


def test_a_second_writer_does_not_wait_for_an_open_transaction__and_is_not_lost(
    fleet: Fleet, env: dict[str, str], tmp_path: Path
) -> None:
    """It saves a row while the first has the revision's row locked, and commits first."""
    command = ("-m", "tests.demo.manage", "shell", "-v", "0", "-c", OPEN_TRANSACTION)
    second = OPEN_TRANSACTION.replace('"open"', '"second"')
    with (
        LineProcess(tmp_path / "first.log", env, *command) as first,
        LineProcess(tmp_path / "second.log", env, *command[:-1], second) as other,
    ):
        assert first.hear() == ["open"]
        assert other.hear() == ["second"]
        # django CMS's own bump, after the editor's request, must not be what tells them.
        fleet.wait_for_push()
        other.tell("commit")
        # Committed; after that it waits for the lock.
        wait_until(
            lambda: fleet.database.sql("SELECT 1 FROM sections_section WHERE slug = 'second'"),
            10,
            "the second writer's COMMIT",
        )
        assert first.ask("rollback") == "rollback"
        assert other.hear() == ["commit"]
    fleet.wait_for("/en/about/second/", timeout=5)
    assert fleet.statuses("/en/about/open/") == [404, 404]


def test_sqlite__rows_are_routed_by_a_second_process_within_the_interval(tmp_path: Path) -> None:
    file = tmp_path / "site.sqlite3"
    env = {
        **CONTROLS,
        "DEMO_EXTRA_APPS": SECTIONS,
        "DEMO_CMS_URLRELOAD": json.dumps({**SECTIONS_SETTING, "POLL_INTERVAL": 0}),
    }
    with DemoSite(f"sqlite:///{file}", tmp_path, workers=2, env=env) as site:
        fleet = Fleet(site, LiteDatabase(str(file), site.content))
        editor = Editor(site, fleet.workers[0])
        about = site.content["about"]["id"]
        editor.attach_apphook(about, "SectionsApphook", "sections")
        editor.submit(f"{SECTION_ADMIN}/add/", {"slug": "first"})
        assert fleet.statuses("/en/about/first/") == [200, 200]
        [(row,)] = fleet.database.sql("SELECT id FROM sections_section")
        editor.submit(f"{SECTION_ADMIN}/{row}/delete/", {"post": "yes"})
        assert fleet.statuses("/en/about/first/") == [404, 404]


# djangocms-stories: a config with translations, of a package that knows nothing of us

STORIES = (
    "parler easy_thumbnails polymorphic filer meta taggit sortedm2m djangocms_text "
    "djangocms_stories tests.e2e.storefront tests.e2e.controls"
)
CONFIG_ADMIN = f"{ADMIN}/djangocms_stories/storiesconfig"


def test_djangocms_stories__a_config_is_routed_by_all_workers(
    start: Any, database: Database, tmp_path: Path
) -> None:
    pytest.importorskip("djangocms_stories")
    models = ["djangocms_stories.StoriesConfig", "djangocms_stories.StoriesConfigTranslation"]
    fleet = begin(start, database, tmp_path, STORIES, CONFIG_MODELS=models)
    editor = Editor(fleet.site, fleet.workers[0])
    for word in ("Tales", "Legends"):
        config = {"namespace": word.lower(), "app_title": word, "object_name": word}
        editor.submit(f"{CONFIG_ADMIN}/add/?language=en", config)
    page = database.pages["about"]["id"]
    ids = dict(database.sql("SELECT namespace, id FROM djangocms_stories_storiesconfig"))

    def use(namespace: str) -> None:
        path = f"{ADMIN}/cms/page/{page}/advanced-settings/"
        apphook = {"application_urls": "StoriesApp"}
        editor.submit(path, {**apphook, "application_configs": str(ids[namespace])})
        fleet.wait_for_push()

    use("tales")
    assert fleet.reverse("tales:list") == ["/en/about/tales/"] * 2
    # Only the config of the apphook is another.
    use("legends")
    assert fleet.reverse("legends:list") == ["/en/about/legends/"] * 2
    assert fleet.reverse("tales:list") == [None, None]
    # An editor renames what the URL is made of, in the package's own admin.
    path = f"{CONFIG_ADMIN}/{ids['legends']}/change/?language=en"
    editor.submit(path, {"object_name": "Sagas"})
    fleet.wait_for_push()
    assert fleet.reverse("legends:list") == ["/en/about/sagas/"] * 2
    assert fleet.statuses("/en/about/sagas/") == [200, 200]
    assert fleet.statuses("/en/about/legends/") == [404, 404]
    assert "found by the heartbeat" not in fleet.log
