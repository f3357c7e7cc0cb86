"""More than one of it: urlconfs in a process, sites in a database, caches in a fleet."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.demo.site import DemoSite
from tests.e2e.conftest import CONTROLS, Database, Fleet

PUSH_ONLY = {"DEMO_CMS_URLRELOAD": json.dumps({"HEARTBEAT_INTERVAL": 600})}


def test_each_urlconf_of_a_process_follows(start: Any, database: Any) -> None:
    """One of django-hosts, with cms.urls two includes deep, beside the root."""
    fleet = start(
        workers=2,
        urlreload={"HEARTBEAT_INTERVAL": 600},
        env={
            "DJANGO_SETTINGS_MODULE": "tests.e2e.hosts_settings",
            "DEMO_ALLOWED_HOSTS": "deep.localhost",
        },
    )

    def deep(path: str) -> list[Any]:
        return [
            fleet.site.get(path, worker=worker, Host="deep.localhost") for worker in fleet.workers
        ]

    def reversed_deep() -> list[Any]:
        return [
            json.loads(answer.body)["url"]
            for answer in deep("/controls/reverse/?name=news:story-list")
        ]

    fleet.ping()
    fleet.wait_for_push()
    old = "news"
    assert reversed_deep() == ["/deep/cms/news/"] * 2
    for new in ("one", "two"):
        database.move("news", new)
        database.notify()
        fleet.wait_for(f"/en/{new}/first-story/")
        assert fleet.statuses(f"/en/{old}/first-story/") == [404, 404]
        assert fleet.reverse("news:story-list") == [f"/en/{new}/"] * 2
        assert [a.status for a in deep(f"/deep/cms/{new}/first-story/")] == [200, 200]
        assert [a.status for a in deep(f"/deep/cms/{old}/first-story/")] == [404, 404]
        assert reversed_deep() == [f"/deep/cms/{new}/"] * 2
        old = new


@pytest.fixture
def run_site(database: Database, tmp_path: Path) -> Iterator[Any]:
    """Start the site once more, on the same database, with its own SITE_ID or none."""
    with contextlib.ExitStack() as stack:

        def run(site_id: str) -> Fleet:
            run_dir = tmp_path / f"site-{site_id or 'all'}"
            run_dir.mkdir()
            env = {
                **CONTROLS,
                **PUSH_ONLY,
                "DEMO_SITE_ID": site_id,
                "DEMO_ALLOWED_HOSTS": "second.test",
            }
            site = DemoSite(database.dsn, run_dir, workers=1, prepare=False, env=env)
            return Fleet(stack.enter_context(site), database)

        yield run


CREATE_SECOND_SITE = """
from cms.api import create_page
from django.contrib.sites.models import Site
site = Site.objects.create(pk=2, domain="second.test", name="second")
create_page("Second", "demo/page.html", "en", slug="second", site=site,
            apphook="EventsApphook", apphook_namespace="second")
"""


def test_each_process_is_right_for_its_sites(run_site: Any, database: Any) -> None:
    first, second, every = run_site("1"), run_site("2"), run_site("")
    first.site.manage("shell", "-c", CREATE_SECOND_SITE)

    def status(fleet: Fleet, path: str, host: str) -> int:
        [worker] = fleet.workers
        return int(fleet.site.get(path, worker=worker, Host=host).status)

    def check(news: str, there: str) -> None:
        here, second_host = "127.0.0.1", "second.test"
        for fleet in (first, every):
            assert status(fleet, f"/en/{news}/first-story/", here) == 200
            assert status(fleet, f"/en/{there}/sprint/", here) == 404
        for fleet in (second, every):
            assert status(fleet, f"/en/{there}/sprint/", second_host) == 200
            assert status(fleet, f"/en/{news}/first-story/", second_host) == 404

    for fleet in (first, second, every):
        fleet.ping()
    check("news", "second")
    reloads = first.reloads()
    database.sql("UPDATE cms_pageurl SET path = 'there' WHERE path = 'second'")
    second.wait_for("/en/there/sprint/", timeout=10)
    check("news", "there")
    # Another site's change: looked at, and nothing rebuilt.
    assert first.reloads() == reloads
    database.sql("UPDATE cms_pageurl SET path = 'moved' WHERE path = 'news'")
    first.wait_for("/en/moved/first-story/", timeout=10)
    check("moved", "there")


def test_no_cached_menu_and_no_cached_page_outlives_a_reload(start: Any, database: Any) -> None:
    """With caches that keep for an hour, one in each process."""
    fleet = start(
        workers=2,
        urlreload={"HEARTBEAT_INTERVAL": 600},
        env={"DEMO_MENU_CACHE": "3600", "DEMO_CONTENT_CACHE": "3600", "DEMO_PAGE_CACHE": "1"},
    )
    fleet.ping()
    fleet.wait_for_push()
    old = "news"
    for new in ("one", "two"):
        for path in ("/en/", "/en/about/", "/en/events/sprint/"):
            for _ in range(2):  # the second time from the cache
                for worker in fleet.workers:
                    text = fleet.site.get(path, worker=worker).text
                    assert f'"/en/{old}/"' in text
        database.move("news", new)
        database.notify()
        fleet.wait_for(f"/en/{new}/first-story/")
        for path in ("/en/", "/en/about/", "/en/events/sprint/"):
            for worker in fleet.workers:
                text = fleet.site.get(path, worker=worker).text
                assert f'"/en/{new}/"' in text
                assert f'"/en/{old}/"' not in text
        old = new
