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
from tests.support.versions import SITES_BY_HOST
from tests.support.waiting import wait_until

#: What DEMO_SITE_ID is for one process that serves all sites, where django CMS can do that.
WITHOUT_SITE_ID = ("",) if SITES_BY_HOST else ()
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


class Sites:
    """Processes for the first site, for the second, and for all of them."""

    def __init__(self, first: Fleet, second: Fleet, *every: Fleet) -> None:
        self.all = (first, second, *every)
        # Who serves what, under which host.
        self._here = ("127.0.0.1", (first, *every))
        self._there = ("second.test", (second, *every))

    def check(self, news: str, events: str) -> None:
        """The news are on the first site alone, and these events on the second."""
        ours, theirs = f"/en/{news}/first-story/", f"/en/{events}/sprint/"
        for (host, fleets), routed, gone in (
            (self._here, ours, theirs),
            (self._there, theirs, ours),
        ):
            for fleet in fleets:
                assert self._status(fleet, routed, host) == 200
                assert self._status(fleet, gone, host) == 404

    def wait_for(self, fleet: Fleet, path: str, host: str) -> None:
        wait_until(lambda: self._status(fleet, path, host) == 200, 10, path)

    def reloads(self) -> list[int]:
        return [fleet.reloads() for fleet in self.all]

    def _status(self, fleet: Fleet, path: str, host: str) -> int:
        [worker] = fleet.workers
        return int(fleet.site.get(path, worker=worker, Host=host).status)


def test_each_process_is_right_for_its_sites__and_rebuilds_for_no_other(
    run_site: Any, database: Any
) -> None:
    sites = Sites(*(run_site(site_id) for site_id in ("1", "2", *WITHOUT_SITE_ID)))
    first, second, *every = sites.all
    first.site.manage("shell", "-c", CREATE_SECOND_SITE)
    for fleet in sites.all:
        fleet.ping()
        wait_until(lambda: "Push: listening" in fleet.log, 10, "all to listen")  # noqa: B023
    sites.check("news", "second")

    before = sites.reloads()
    database.sql("UPDATE cms_pageurl SET path = 'there' WHERE path = 'second'")
    for fleet in (second, *every):
        sites.wait_for(fleet, "/en/there/sprint/", "second.test")
    sites.check("news", "there")
    database.sql("UPDATE cms_pageurl SET path = 'moved' WHERE path = 'news'")
    for fleet in (first, *every):
        sites.wait_for(fleet, "/en/moved/first-story/", "127.0.0.1")
    sites.check("moved", "there")
    # All were told of both. The second one comes after the first, so that was looked at too.
    assert sites.reloads() == [before[0] + 1, before[1] + 1, *(n + 2 for n in before[2:])]
    assert "found by the heartbeat" not in "".join(fleet.log for fleet in sites.all)


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
