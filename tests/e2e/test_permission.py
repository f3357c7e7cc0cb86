"""Nobody sees the view of an apphook without the permission of its page: in workers whose URLs are
old, and in healthy ones while pages swap their paths."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest

from tests.demo.editor import Editor
from tests.demo.site import DemoSite
from tests.e2e.conftest import CONTROLS, Database, Fleet

SETTINGS = {"DJANGO_SETTINGS_MODULE": "tests.e2e.members_settings"}
MEMBERS, LIST, EVENT = "events", "/en/events/", "/en/events/summer-party/"
#: What the view shows, and no page does.
SHOWN = b"Summer party"
SECONDS = 6


def write(database: Database, *statements: str) -> None:
    """Change rows past all triggers and foreign keys; {members} and {public} are pages."""
    pages = {"members": database.pages[MEMBERS]["id"], "public": database.pages["about"]["id"]}
    with psycopg.connect(database.dsn) as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        for statement in statements:
            connection.execute(statement.format(**pages))


def set_path(page: str, path: str, language: str = "en") -> str:
    return (
        f"UPDATE cms_pageurl SET path = '{path}' "
        f"WHERE page_id = {{{page}}} AND language = '{language}'"
    )


LOGIN = "UPDATE cms_page SET login_required = true WHERE id = {members}"
RESTRICT = (
    "INSERT INTO cms_pagepermission (page_id, user_id, grant_on, can_view, can_change, can_add, "
    "can_delete, can_change_advanced_settings, can_publish, can_change_permissions, can_move_page) "
    "VALUES ({%s}, 1, 1, true, false, false, false, false, false, false, false)"
)
SWAP = (set_path("members", "club"), set_path("public", MEMBERS))


class Change(NamedTuple):
    """What happens to pages while a worker keeps its URLs, and what it must answer."""

    before: tuple[str, ...]
    then: tuple[str, ...]
    expected: dict[str, int]


CHANGES = {
    "a public page takes the path": Change((LOGIN,), SWAP, {LIST: 302, EVENT: 302}),
    "a public page takes the path of a restricted one": Change(
        (RESTRICT % "members",), SWAP, {LIST: 404, EVENT: 404}
    ),
    "a private page takes the path": Change(
        (),
        (*SWAP, "UPDATE cms_page SET login_required = true WHERE id = {public}"),
        # What is below is no path of the other page.
        {LIST: 302, EVENT: 200},
    ),
    "a restricted page takes the path": Change(
        (), (*SWAP, RESTRICT % "public"), {LIST: 404, EVENT: 200}
    ),
    "moved": Change((LOGIN,), (set_path("members", "about/events"),), {LIST: 302, EVENT: 302}),
    "moved and public": Change((), (set_path("members", "about/events"),), {LIST: 200, EVENT: 200}),
    "deleted": Change(
        (),
        (
            "DELETE FROM cms_pageurl WHERE page_id = {members}",
            "DELETE FROM cms_pagecontent WHERE page_id = {members}",
            "DELETE FROM cms_page WHERE id = {members}",
        ),
        {LIST: 404, EVENT: 404},
    ),
    "unpublished": Change(
        (),
        ("UPDATE cms_pageurl SET path = NULL WHERE page_id = {members}",),
        {LIST: 404, EVENT: 404},
    ),
    "unpublished in one language": Change(
        (),
        ("UPDATE cms_pageurl SET path = NULL WHERE page_id = {members} AND language = 'de'",),
        {LIST: 200, EVENT: 200, "/de/termine/": 404, "/de/termine/summer-party/": 404},
    ),
    "translation deleted, the path taken": Change(
        (LOGIN,),
        (
            "DELETE FROM cms_pageurl WHERE page_id = {members} AND language = 'de'",
            set_path("public", "termine", "de"),
        ),
        {"/de/termine/": 404, "/de/termine/summer-party/": 404, LIST: 302},
    ),
    "detached": Change(
        (),
        ("UPDATE cms_page SET application_urls = NULL WHERE id = {members}",),
        {LIST: 404, EVENT: 404},
    ),
    "a login required": Change((), (LOGIN,), {LIST: 302, EVENT: 302}),
    "restricted": Change((), (RESTRICT % "members",), {LIST: 404, EVENT: 404}),
}


@pytest.fixture(params=["not asked", "failing"])
def start_stale(
    request: Any, start: Any, database: Database, tmp_path: Path
) -> Callable[[tuple[str, ...]], Fleet]:
    """Start a worker that keeps its URLs: it is told nothing and asks nothing, and so does not know
    that it is stale; or it does, and cannot build others."""
    flag = tmp_path / "broken"

    def make(before: tuple[str, ...]) -> Fleet:
        write(database, *before)
        urlreload = {"LISTEN": False, "POLL_INTERVAL": 86400}
        if request.param == "failing":
            urlreload = {"LISTEN": False, "POLL_INTERVAL": 0}
        env = {**SETTINGS, "CONTROLS_BREAK_NEWS": str(flag)}
        fleet: Fleet = start(workers=1, urlreload=urlreload, env=env)
        assert fleet.statuses("/en/news/first-story/") == [200]
        if request.param == "failing":
            flag.touch()
        return fleet

    return make


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_stale_worker__checks_the_page_of_the_view(
    change: Change, start_stale: Any, database: Database
) -> None:
    fleet = start_stale(change.before)
    write(database, *change.then)
    for path, status in change.expected.items():
        answer = fleet.site.get(path)
        assert (path, answer.status) == (path, status)
        assert (SHOWN in answer.body) == (status == 200)


def test_a_stale_worker__shows_a_members_page_to_its_members(
    start_stale: Any, database: Database
) -> None:
    fleet = start_stale((LOGIN,))
    write(database, *SWAP)
    editor = Editor(fleet.site)
    answer = editor._session.get(EVENT)
    assert answer.status == 200
    assert SHOWN in answer.body


def test_a_stale_worker__checks_nothing_of_an_app_that_says_so(
    start_stale: Any, database: Database
) -> None:
    """As django CMS does: such an app has permissions of its own, and asks nothing of its page."""
    app = "UPDATE cms_page SET application_urls = 'OpenApphook' WHERE id = {members}"
    fleet = start_stale((LOGIN, app))
    assert fleet.site.get(LIST).body == b"everybody"
    write(database, "UPDATE cms_pageurl SET path = NULL WHERE page_id = {members}")
    assert fleet.site.get(LIST).body == b"everybody"


def test_pages_for_staff__stay_so__in_a_stale_worker(start: Any, database: Database) -> None:
    env = {**SETTINGS, "MEMBERS_PUBLIC_FOR": "staff"}
    fleet = start(workers=1, urlreload={"LISTEN": False, "POLL_INTERVAL": 86400}, env=env)
    assert fleet.statuses(EVENT) == [404]
    write(database, *SWAP)
    assert fleet.statuses(LIST) == fleet.statuses(EVENT) == [404]
    assert Editor(fleet.site)._session.get(EVENT).status == 200


@pytest.mark.parametrize("server", ["gunicorn", "uvicorn"])
def test_an_async_view__is_behind_its_login(server: str, start: Any, database: Database) -> None:
    app = "UPDATE cms_page SET application_urls = 'AsyncApphook' WHERE id = {members}"
    write(database, LOGIN, app)
    fleet = start(workers=1, server=server, env=SETTINGS)
    assert fleet.site.get(LIST).status == 302
    assert Editor(fleet.site)._session.get(LIST).body == b"members only"


@pytest.mark.parametrize(
    "before", [(), (LOGIN,), (RESTRICT % "members",)], ids=["public", "login", "restricted"]
)
def test_previews__are_those_of_django_cms(
    before: tuple[str, ...], start: Any, database: Database, tmp_path: Path
) -> None:
    """Of an editor, and of a visitor who tries the same."""
    write(database, *before)
    run_dir = tmp_path / "core"
    run_dir.mkdir()
    env = {**CONTROLS, **SETTINGS, "DEMO_RELOAD": "core"}
    [(content_type,)] = database.sql(
        "SELECT id FROM django_content_type WHERE app_label = 'cms' AND model = 'pagecontent'"
    )
    contents = [
        content
        for key in (MEMBERS, "about")
        for content in database.pages[key]["contents"].values()
    ]
    paths = [
        f"/en/admin/cms/placeholder/object/{content_type}/{action}/{content}/"
        for action in ("edit", "preview", "structure")
        for content in contents
    ]
    paths += [
        f"{path}?{query}"
        for path in (LIST, EVENT)
        for query in ("edit", "preview", "raw", "toolbar_on", "toolbar_off")
    ]
    with DemoSite(database.dsn, run_dir, workers=1, prepare=False, env=env) as core:
        ours = start(workers=1, env=SETTINGS).site
        editors = [Editor(site) for site in (ours, core)]
        shown = []
        for path in paths:
            found, expected = (described(editor._session.get(path)) for editor in editors)
            assert found == expected, path
            shown += [path] * found[2]
            found, expected = (described(site.get(path)) for site in (ours, core))
            assert found == expected, path
        assert any("/preview/" in path for path in shown)
        assert any("/edit/" in path for path in shown)


def described(answer: Any) -> tuple[int, str | None, bool]:
    return answer.status, answer.location, SHOWN in answer.body


def test_two_pages_swap_their_path__and_nobody_gets_past_the_login(
    start: Any, database: Database
) -> None:
    """In a healthy worker: between the look-up of the view and that of the page, another thread
    publishes, or another page has the path."""
    write(database, LOGIN)
    fleet = start(workers=1, worker_class="gthread", threads=6, env=SETTINGS)
    fleet.ping()
    fleet.wait_for_push()
    answers: Counter[tuple[int, bool]] = Counter()
    stop = threading.Event()

    def hammer() -> None:
        while not stop.is_set():
            for path in (LIST, "/en/about/"):
                answer = fleet.site.get(path)
                answers[answer.status, SHOWN in answer.body] += 1

    threads = [threading.Thread(target=hammer) for _ in range(6)]
    for thread in threads:
        thread.start()
    try:
        swap_for(SECONDS, database)
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    print(dict(answers))
    assert answers[302, False] > 100
    assert {shown for _, shown in answers} == {False}
    assert {status for status, _ in answers} <= {200, 302, 404}


def swap_for(seconds: float, database: Database) -> None:
    """Swap the paths of the two pages, each time in one statement, so that each has one always."""
    over = threading.Event()
    timer = threading.Timer(seconds, over.set)
    timer.start()
    pages = [database.pages[key]["id"] for key in (MEMBERS, "about")]
    with psycopg.connect(database.dsn, autocommit=True) as connection:
        # One of the two has the path of the other for as long as a statement takes.
        connection.execute(
            "ALTER TABLE cms_pageurl DROP CONSTRAINT IF EXISTS unique_site_language_path"
        )
        while not over.wait(0.01):
            connection.execute(
                "UPDATE cms_pageurl SET path = CASE path WHEN 'events' THEN 'about' ELSE 'events' "
                "END WHERE page_id = ANY (%s) AND language = 'en'",
                (pages,),
            )
    timer.join()
