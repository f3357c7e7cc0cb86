"""Workers that share a cache: a placeholder links to where the menu beside it does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests.e2e.conftest import Database, Fleet

PAGE = "/en/about/"
#: The link of the plugin, and that of the menu to the first story.
LINKS = re.compile(r'href="(\S+)">The news, by a plugin|href="(/en/\S+)first-story/"')

ADD_PLUGIN = """
from cms.api import add_plugin
from cms.models import PageContent
from cms.utils.placeholder import rescan_placeholders_for_obj
content = PageContent.admin_manager.get(page_id={page}, language="en")
add_plugin(rescan_placeholders_for_obj(content)["content"], "NewsLinkPlugin", "en")
"""
CLEAR = """
from cms.models import Placeholder
for placeholder in Placeholder.objects.all():
    placeholder.clear_cache("en", site_id=1)
"""


def links(fleet: Fleet) -> list[set[str]]:
    """Where each worker's page links to, after two requests: what it has cached, it shows."""
    answers = [fleet.site.get(PAGE, worker=worker) for worker in fleet.workers * 2]
    assert {answer.status for answer in answers} == {200}
    found = [{a or b for a, b in LINKS.findall(answer.text)} for answer in answers]
    assert all("The news, by a plugin" in answer.text for answer in answers)
    return found


def test_a_plugin_links_to_where_the_menu_does(
    start: Any, database: Database, tmp_path: Path
) -> None:
    env = {
        "DJANGO_SETTINGS_MODULE": "tests.e2e.members_settings",
        "MEMBERS_CACHE": str(tmp_path / "cache"),
    }
    fleet = start(workers=2, urlreload={"HEARTBEAT_INTERVAL": 600}, env=env)
    fleet.site.manage("shell", "-c", ADD_PLUGIN.format(page=database.pages["about"]["id"]))
    fleet.ping()
    fleet.wait_for_push()
    assert links(fleet) == [{"/en/news/"}] * 4
    for path in ("moved", "again", "news"):
        database.move_and_notify("news", path)
        fleet.wait_for(f"/en/{path}/first-story/")
        assert links(fleet) == [{f"/en/{path}/"}] * 4


def test_a_stale_worker_leaves_no_link_to_others(
    start: Any, database: Database, tmp_path: Path
) -> None:
    """It renders after the change, and so writes what a clearing has gone before."""
    flag = tmp_path / "broken"
    env = {
        "DJANGO_SETTINGS_MODULE": "tests.e2e.members_settings",
        "MEMBERS_CACHE": str(tmp_path / "cache"),
        "CONTROLS_BREAK_NEWS": str(flag),
    }
    fleet = start(workers=2, urlreload={"LISTEN": False, "POLL_INTERVAL": 0}, env=env)
    fleet.site.manage("shell", "-c", ADD_PLUGIN.format(page=database.pages["about"]["id"]))
    stale, healthy = fleet.workers
    assert fleet.site.get("/en/news/", worker=stale).status == 200
    flag.touch()
    database.move("news", "moved")
    fleet.site.manage("shell", "-c", CLEAR)
    assert 'href="/en/news/">The news' in fleet.site.get(PAGE, worker=stale).text
    flag.unlink()
    answer = fleet.site.get(PAGE, worker=healthy)
    assert 'href="/en/moved/">The news' in answer.text
