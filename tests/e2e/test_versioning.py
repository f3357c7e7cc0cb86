"""djangocms-versioning: all workers route exactly what is published; before django CMS 5.1, where
a draft has no URL of its own, exactly what a new process would. An editor works with the admin's
own views; core's signals say nothing of it, and no heartbeat comes in time to find it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.demo.editor import ADMIN, Editor, EditorError
from tests.demo.site import DemoSite
from tests.e2e.conftest import CONTROLS, Database, Fleet
from tests.support.versions import needs_urls_of_content, needs_urls_of_pages

pytest.importorskip("djangocms_versioning")

ENV = {**CONTROLS, "DEMO_EXTRA_APPS": "djangocms_versioning tests.e2e.controls"}
VERSIONS = f"{ADMIN}/djangocms_versioning/pagecontentversion"


class VersioningEditor(Editor):
    """Knows versions too."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(fleet.site, fleet.workers[0])
        self._database = fleet.database

    def versions(self, page_id: int) -> list[tuple[int, str, int]]:
        """A page's versions in English, the newest first: id, state, id of the content."""
        rows = self._database.sql(
            "SELECT v.id, v.state, c.id FROM djangocms_versioning_version v "
            "JOIN django_content_type t ON t.id = v.content_type_id "
            "JOIN cms_pagecontent c ON c.id = v.object_id AND t.model = 'pagecontent' "
            "WHERE c.page_id = %s AND c.language = 'en' ORDER BY v.id DESC",
            page_id,
        )
        return [(row[0], row[1], row[2]) for row in rows]

    def states(self, page_id: int) -> list[str]:
        return [state for _, state, _ in self.versions(page_id)]

    def create_draft_page(self, title: str, slug: str) -> int:
        path = f"{ADMIN}/cms/pagecontent/add/?language=en"
        self.submit(path, {"title": title, "slug": slug})
        [(page,)] = self._database.sql(
            "SELECT page_id FROM cms_pagecontent ORDER BY id DESC LIMIT 1"
        )
        return int(page)

    def publish(self, page_id: int) -> None:
        self._act(page_id, "draft", "publish")

    def unpublish(self, page_id: int) -> None:
        self._act(page_id, "published", "unpublish")

    def new_draft(self, page_id: int) -> None:
        """Edit what is published: that makes a draft of it."""
        self._act(page_id, "published", "edit-redirect")

    def revert(self, page_id: int) -> None:
        """Make a draft of the newest version that is unpublished."""
        self._act(page_id, "unpublished", "revert")

    def change_drafts_slug(self, page_id: int, slug: str) -> None:
        content = next(content for _, state, content in self.versions(page_id) if state == "draft")
        path = f"{ADMIN}/cms/pagecontent/{content}/change/?language=en"
        self.submit(path, {"slug": slug})

    def _act(self, page_id: int, state: str, action: str) -> None:
        version = next(version for version, now, _ in self.versions(page_id) if now == state)
        before = self.states(page_id)
        token = self._session.cookies["csrftoken"].value
        path = f"{VERSIONS}/{version}/{action}/"
        answer = self._session.post(path, {}, **{"X-CSRFToken": token})
        if answer.status != 302 or self.states(page_id) == before:
            raise EditorError(f"{path} answered {answer.status}: {answer.text[:300]}")


@pytest.fixture
def fleet(start: Any, database: Database, tmp_path: Path) -> Fleet:
    """Two workers; the demo's pages are published versions."""
    site = DemoSite(database.dsn, tmp_path, prepare=False, env=ENV)
    site.manage("migrate")
    site.manage("create_versions", "--state", "published", "--userid", "1")
    fleet: Fleet = start(workers=2, urlreload={"HEARTBEAT_INTERVAL": 600}, env=ENV)
    fleet.ping()
    fleet.wait_for_push()
    return fleet


def assert_routed(fleet: Fleet, slug: str | None, *others: str) -> None:
    """Each worker routes the apphook at this slug, or nowhere; at none of the others."""
    fleet.wait_for_push()
    for path in others:
        assert fleet.statuses(f"/en/{path}/first-story/") == [404, 404]
    if slug is not None:
        assert fleet.statuses(f"/en/{slug}/first-story/") == [200, 200]
    expected = None if slug is None else f"/en/{slug}/"
    assert fleet.reverse("stories:story-list") == [expected, expected]


@needs_urls_of_content
def test_all_workers_route_exactly_what_is_published(fleet: Fleet) -> None:
    editor = VersioningEditor(fleet)

    page = editor.create_draft_page("Stories", "stories")
    assert_routed(fleet, None, "stories")

    reloads = fleet.reloads()
    editor.attach_apphook(page, "NewsApphook", "stories")
    assert_routed(fleet, None, "stories")
    assert editor.states(page) == ["draft"]
    assert fleet.reloads() == reloads  # nothing is routed yet

    editor.publish(page)
    assert_routed(fleet, "stories")

    editor.unpublish(page)
    assert_routed(fleet, None, "stories")

    editor.revert(page)
    assert_routed(fleet, None, "stories")
    editor.change_drafts_slug(page, "tales")
    assert_routed(fleet, None, "stories", "tales")
    editor.publish(page)
    assert_routed(fleet, "tales", "stories")

    reloads = fleet.reloads()
    editor.new_draft(page)
    editor.change_drafts_slug(page, "legends")
    assert_routed(fleet, "tales", "stories", "legends")
    assert fleet.reloads() == reloads  # a new draft routes nothing

    editor.publish(page)
    assert_routed(fleet, "legends", "stories", "tales")
    assert fleet.reverse("news:story-list") == ["/en/news/", "/en/news/"]
    assert editor.states(page) == ["published", "unpublished", "unpublished"]

    assert "found by the heartbeat" not in fleet.log
    assert "Traceback" not in fleet.log


REVERSE = """
from django.urls import NoReverseMatch, reverse
from django.utils.translation import override
with override("en"):
    try:
        print(reverse("stories:story-list"))
    except NoReverseMatch:
        print(None)
"""


@needs_urls_of_pages
def test_all_workers_route_what_a_new_process_would(fleet: Fleet) -> None:
    """A page has one URL for all of its versions: attached to a draft, an apphook is there at once,
    and with the draft's slug. So has django CMS built it in each process, when it started."""
    editor = VersioningEditor(fleet)

    def check(slug: str | None, *others: str) -> None:
        assert_routed(fleet, slug, *others)
        [of_core] = fleet.site.manage("shell", "-v", "0", "-c", REVERSE).split()
        assert of_core == (f"/en/{slug}/" if slug else "None")

    page = editor.create_draft_page("Stories", "stories")
    check(None, "stories")
    editor.attach_apphook(page, "NewsApphook", "stories")
    check("stories")
    reloads = fleet.reloads()
    editor.publish(page)
    editor.new_draft(page)
    editor.publish(page)
    editor.unpublish(page)
    check("stories")
    assert fleet.reloads() == reloads
    editor.revert(page)
    editor.change_drafts_slug(page, "tales")
    check("tales", "stories")
    editor.publish(page)
    check("tales", "stories")
    editor.detach_apphook(page)
    check(None, "tales", "stories")
    assert "found by the heartbeat" not in fleet.log
    assert "Traceback" not in fleet.log


def move_below_about(fleet: Fleet, editor: VersioningEditor) -> int:
    """Move the page of the apphook; return the page that is above it then."""
    about = int(fleet.database.pages["about"]["id"])
    editor.move_page(fleet.database.pages["news"]["id"], parent=about)
    fleet.wait_for_push()
    assert fleet.statuses("/en/about/news/first-story/") == [200, 200]
    return about


@needs_urls_of_content
def test_a_parents_new_slug_is_routed__when_it_is_published(fleet: Fleet) -> None:
    """The URLs below a page follow from what is published of it."""
    editor = VersioningEditor(fleet)
    about = move_below_about(fleet, editor)
    editor.new_draft(about)
    editor.change_drafts_slug(about, "us")
    fleet.wait_for_push()
    assert fleet.statuses("/en/about/news/first-story/") == [200, 200]
    editor.publish(about)
    fleet.wait_for_push()
    assert fleet.statuses("/en/us/news/first-story/") == [200, 200]
    assert fleet.statuses("/en/about/news/first-story/") == [404, 404]
    assert "found by the heartbeat" not in fleet.log


@needs_urls_of_pages
def test_a_parents_new_slug_is_routed__when_a_draft_has_it(fleet: Fleet) -> None:
    editor = VersioningEditor(fleet)
    about = move_below_about(fleet, editor)
    # django CMS 5.0 lets nobody change the slug of what is published.
    editor.unpublish(about)
    editor.revert(about)
    editor.change_drafts_slug(about, "us")
    fleet.wait_for_push()
    assert fleet.statuses("/en/us/news/first-story/") == [200, 200]
    assert fleet.statuses("/en/about/news/first-story/") == [404, 404]
    assert "found by the heartbeat" not in fleet.log
