"""The page "Apphook URLs" in a real browser, beside four real workers."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.demo.site import Worker
from tests.e2e.conftest import Database, Fleet
from tests.e2e.lines import move_by_sql
from tests.support import browser as chromium
from tests.support.waiting import wait_until

pytestmark = pytest.mark.chromium

PAGE = "/en/admin/cms_urlreload/apphookurls/"
NEW_USER = """
from django.contrib.auth.models import Permission, User
user = User.objects.create_user("somebody", password="somebody", is_staff=True)
user.user_permissions.set(Permission.objects.filter(codename__in={!r}))
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if reason := chromium.missing():
        pytest.skip(reason)
    with chromium.open_browser() as browser:
        yield browser


@pytest.fixture
def settings_module() -> str:
    return "tests.demo.settings"


@pytest.fixture
def fleet(start: Any, settings_module: str) -> Fleet:
    """Four workers that are current, and beat so rarely that it helps nobody."""
    env = {"DJANGO_SETTINGS_MODULE": settings_module}
    fleet: Fleet = start(urlreload={"HEARTBEAT_INTERVAL": 600}, env=env)
    fleet.ping()
    fleet.wait_for_push()
    wait_until(lambda: not fleet.database.in_doubt(), 10, "an end of all doubt")
    return fleet


@pytest.fixture
def visit(browser: Browser, fleet: Fleet) -> Iterator[Callable[..., Page]]:
    """Log in, and go to the page. All of it is asked of the first worker."""
    contexts = []

    def go(user: str = "admin", **options: Any) -> Page:
        context = browser.new_context(base_url=fleet.workers[0].base_url, **options)
        contexts.append(context)
        page = context.new_page()
        page.goto(f"/en/admin/login/?next={PAGE}")
        page.fill("[name=username]", user)
        page.fill("[name=password]", user)
        page.press("[name=password]", "Enter")
        page.wait_for_url(f"**{PAGE}")
        return page

    yield go
    for context in contexts:
        context.close()


def row(page: Page, worker: Worker) -> Any:
    return page.get_by_role("row").filter(has_text=re.compile(rf"\b{worker.pid}\b"))


def expect_all(page: Page, workers: list[Worker], state: str, token: str) -> None:
    for worker in workers:
        cells = row(page, worker).get_by_role("cell")
        expect(cells.nth(3)).to_have_text(token, timeout=20_000)
        expect(cells.nth(2)).to_have_text(state, timeout=20_000)


def test_workers_turn_current_before_ones_eyes(
    fleet: Fleet, database: Database, visit: Callable[..., Page]
) -> None:
    page = visit()
    expect(page.get_by_text("4 workers are told of changes.")).to_be_visible()
    before = fleet.token()
    expect_all(page, fleet.workers, "current", before)
    page.evaluate("window.wasNotLoadedAgain = true")
    first, *others = fleet.workers
    move_by_sql(database, "news", "moved")
    # The page asks the first one by itself, and nobody asks the others.
    expect_all(page, [first], "current", fleet.token())
    expect_all(page, others, "current at its next request", before)
    expect(page.get_by_text("/moved/")).to_be_visible()
    fleet.ping()
    expect_all(page, fleet.workers, "current", fleet.token())
    assert page.evaluate("window.wasNotLoadedAgain")


def test_an_apphook_that_an_editor_attaches_is_there_on_another_worker(
    fleet: Fleet, database: Database, visit: Callable[..., Page]
) -> None:
    page = visit()
    home = fleet.workers[2].base_url
    about = database.pages["about"]["id"]
    page.goto(f"/en/admin/cms/page/{about}/advanced-settings/")
    page.select_option("[name=application_urls]", "EventsApphook")
    page.fill("[name=application_namespace]", "more-events")
    page.press("[name=application_namespace]", "Enter")
    page.wait_for_url(lambda url: "advanced-settings" not in url)
    page.goto(f"{home}/en/about/summer-party/")
    expect(page.get_by_role("heading", name="Summer party")).to_be_visible()
    page.goto(PAGE)
    link = page.get_by_role("row").filter(has_text="more-events").filter(has_text="about")
    link.get_by_role("link").click()
    assert f"/cms/page/{about}/advanced-settings/" in page.url


class TestButton:
    def press(self, page: Page, fleet: Fleet) -> None:
        before = fleet.token()
        page.get_by_role("button", name="Reload all workers").click()
        expect(page.get_by_text("Announced: every worker builds")).to_be_visible()
        assert fleet.token() != before
        fleet.ping()
        wait_until(
            lambda: {served for _, served in fleet.database.fleet()} == {fleet.token()},
            10,
            lambda: f"all to serve {fleet.token()}: {fleet.database.fleet()}",
        )

    def test_it_reloads_all(self, fleet: Fleet, visit: Callable[..., Page]) -> None:
        page = visit()
        self.press(page, fleet)
        expect_all(page, fleet.workers, "current", fleet.token())

    def test_without_javascript(self, fleet: Fleet, visit: Callable[..., Page]) -> None:
        page = visit(java_script_enabled=False)
        self.press(page, fleet)
        page.reload()
        expect_all(page, fleet.workers, "current", fleet.token())


class TestSomebody:
    def test_who_may_only_see(self, fleet: Fleet, visit: Callable[..., Page]) -> None:
        fleet.site.manage("shell", "-c", NEW_USER.format(["view_apphookurls"]))
        page = visit("somebody")
        expect(page.get_by_text("4 workers are told of changes.")).to_be_visible()
        expect(page.get_by_role("button", name="Reload all workers")).to_have_count(0)
        assert self.push_anyway(page, fleet) == 403

    def test_who_may_not_even_that(self, fleet: Fleet, visit: Callable[..., Page]) -> None:
        fleet.site.manage("shell", "-c", NEW_USER.format([]))
        page = visit("somebody")
        expect(page.get_by_text("403 Forbidden")).to_be_visible()
        assert self.push_anyway(page, fleet) == 403
        page.goto("/en/admin/")
        expect(page.get_by_text("Apphook URLs")).to_have_count(0)

    def push_anyway(self, page: Page, fleet: Fleet) -> int:
        before = fleet.token()
        # The log-out form of any page of the admin has a token against forgery.
        page.request.get("/en/admin/")
        [token] = [c["value"] for c in page.context.cookies() if c["name"] == "csrftoken"]
        answer = page.request.post(f"{PAGE}reload/", headers={"X-CSRFToken": token})
        assert "CSRF" not in answer.text()
        assert fleet.token() == before
        return answer.status


SCREEN: dict[str, Any] = {"viewport": {"width": 1200, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True}
DJANGO, ADMIN_STYLE = "tests.demo.settings", "tests.e2e.admin_style_settings"


@pytest.mark.parametrize(
    ("settings_module", "name", "options"),
    [
        (DJANGO, "fleet", SCREEN),
        (DJANGO, "fleet-dark", {**SCREEN, "color_scheme": "dark"}),
        (DJANGO, "fleet-phone", PHONE),
        (ADMIN_STYLE, "fleet-admin-style", SCREEN),
        (ADMIN_STYLE, "fleet-admin-style-phone", PHONE),
    ],
)
def test_it_fits__and_axe_finds_nothing_serious(
    name: str,
    options: dict[str, Any],
    fleet: Fleet,
    visit: Callable[..., Page],
    tmp_path: Path,
) -> None:
    """Looked at by people: CMS_URLRELOAD_SCREENSHOTS says where the pictures go."""
    page = visit(**options)
    folder = Path(os.environ.get("CMS_URLRELOAD_SCREENSHOTS", tmp_path))
    page.screenshot(path=folder / f"{name}.png", full_page=True)
    assert (folder / f"{name}.png").stat().st_size < 200_000
    # What is around it is Django's.
    ours = {"include": [["#content-main"]], "exclude": []}
    if name.startswith("fleet-admin-style"):
        ours["exclude"] = [["[type=submit]"]]  # white on light blue, as all buttons of that style
    found = Axe().run(page, context=ours).response["violations"]
    serious = [
        (rule["id"], [node["html"] for node in rule["nodes"]])
        for rule in found
        if rule["impact"] in ("serious", "critical")
    ]
    assert serious == []
    width = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    assert page.evaluate(width)
