"""The main job: an editor's change is right on every worker, and nothing is asked in between."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.support.waiting import wait_until

CHANGES = 100
UNCHANGED_REQUESTS = 400


def test_100_changes_by_an_editor__are_right_on_each_workers_next_request__and_cost_no_query(
    start: Any, edit: Any, database: Any
) -> None:
    # Nothing but push can find a change in time.
    fleet = start(workers=4, urlreload={"HEARTBEAT_INTERVAL": 600, "POLL_INTERVAL": 600})
    fleet.ping()
    fleet.wait_for_push()
    editor = edit(fleet)
    page = database.pages["news"]["id"]
    late = []
    queries: dict[str, int] = {}
    slug, gone = "news", ""
    for number in range(CHANGES):
        if number % 5 == 3:
            editor.detach_apphook(page)
            expected = {f"/en/{slug}/first-story/": 404}
        elif number % 5 == 4:
            editor.attach_apphook(page, "NewsApphook", "news")
            expected = {f"/en/{slug}/first-story/": 200}
        else:
            slug, gone = f"news-{number}", slug
            editor.change_slug(page, "en", slug)
            expected = {f"/en/{slug}/first-story/": 200, f"/en/{gone}/first-story/": 404}
        for path, status in expected.items():
            answers = fleet.statuses(path)
            if answers != [status] * 4:
                # A thread that hears needs a core to run on. On a machine that has none to spare,
                # the request may be faster, this once.
                late.append(f"change {number}: {path} is {answers} and not {status}")
                fleet.wait_for(path, status, timeout=10)
        queries.update(queries_of_unchanged_requests(fleet, database))
    print(f"{CHANGES} changes; not right at once on each worker: {late or 'none'}")
    assert queries == {}


def queries_of_unchanged_requests(fleet: Any, database: Any) -> dict[str, int]:
    """Have all workers answer requests that need no database; return what was asked of it."""
    fleet.wait_for_push()
    database.forget_statements()
    workers = fleet.workers

    def ask(number: int) -> int:
        return int(fleet.site.get("/ping/", worker=workers[number % len(workers)]).status)

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(ask, range(UNCHANGED_REQUESTS))) == {200}
    return database.statements()  # type: ignore[no-any-return]


def test_unchanged_requests_to_an_apphook__cost_no_query_of_ours(start: Any, database: Any) -> None:
    fleet = start(workers=2)
    fleet.ping()
    fleet.wait_for_push()
    database.forget_statements()
    for _ in range(50):
        assert fleet.statuses("/en/news/first-story/") == [200, 200]
    assert database.statements(ours_only=True) == {}
    # It is seen if there is one.
    database.notify()
    wait_until(
        lambda: fleet.statuses("/en/news/") and database.statements(ours_only=True),
        10,
        "a look at the token",
    )


def test_plain_pages_and_new_drafts__cause_no_rebuild(start: Any, edit: Any, database: Any) -> None:
    fleet = start(workers=2)
    fleet.ping()
    fleet.wait_for_push()
    editor = edit(fleet)
    reloads = fleet.reloads()
    about = database.pages["about"]["id"]
    editor.change_slug(about, "en", "imprint")
    editor.create_page("Contact", "contact")
    editor.set_overwrite_url(about, "en", "about/us")
    editor.delete_language(about, "de")
    fleet.wait_for_push()
    assert fleet.statuses("/en/about/us/") == [200, 200]
    database.forget_statements()
    editor.delete_page(about)
    fleet.ping()
    # Not even looked at: the commit hook saw that no apphook hangs there.
    assert database.statements(ours_only=True) == {}
    # A new content of a page with an apphook makes django CMS ask for a reload.
    fleet.site.manage(
        "shell",
        "-c",
        "from cms.signals import urls_need_reloading; urls_need_reloading.send(sender=None)",
    )
    fleet.wait_for_push()
    assert fleet.reloads() == reloads


def test_commands_and_shells_and_fixtures__are_heard(
    start: Any, database: Any, tmp_path: Any
) -> None:
    """No HTTP request in the writer, and no heartbeat in time to find it."""
    fleet = start(workers=2, urlreload={"HEARTBEAT_INTERVAL": 600})
    fleet.ping()
    fleet.wait_for_push()
    page = database.pages["events"]["id"]

    def shell(code: str) -> None:
        fleet.site.manage("shell", "-c", f"from cms.models import *\n{code}")

    shell(f"u = PageUrl.objects.get(page={page}, language='en'); u.path = 'by-shell'; u.save()")
    fleet.wait_for("/en/by-shell/sprint/")
    assert fleet.statuses("/en/events/sprint/") == [404, 404]

    shell(f"p = Page.objects.get(pk={page}); p.application_urls = 'NewsApphook'; p.save()")
    fleet.wait_for("/en/by-shell/first-story/")

    fixture = tmp_path / "urls.json"
    fixture.write_text(fleet.site.manage("dumpdata", "cms.pageurl"))
    fixture.write_text(fixture.read_text().replace('"path": "by-shell"', '"path": "loaded"'))
    fleet.site.manage("loaddata", str(fixture))
    fleet.wait_for("/en/loaded/first-story/")
    assert fleet.statuses("/en/by-shell/first-story/") == [404, 404]

    shell(f"Page.objects.get(pk={page}).delete()")
    fleet.wait_for("/en/loaded/first-story/", status=404)
    assert "found by the heartbeat" not in fleet.log


def test_what_nobody_announces__is_found_by_the_heartbeat__and_told(
    start: Any, database: Any
) -> None:
    fleet = start(workers=2, urlreload={"HEARTBEAT_INTERVAL": 0.5})
    fleet.ping()
    fleet.wait_for_push()
    database.move("news", "by-sql")
    fleet.wait_for("/en/by-sql/first-story/")
    assert fleet.statuses("/en/news/first-story/") == [404, 404]
    wait_until(lambda: "found by the heartbeat" in fleet.log, 10, "the log")


def test_an_open_transaction__leaves_no_worker_stale(start: Any, database: Any) -> None:
    """Other requests of the same process finish before COMMIT, and django CMS bumps its revision
    too early, as it does."""
    fleet = start(workers=2, worker_class="gthread", threads=4)
    fleet.ping()
    fleet.wait_for_push()
    page = database.pages["news"]["id"]
    for end, path in (("rollback", "never"), ("commit", "committed")):
        with ThreadPoolExecutor(1) as pool, locked(database) as unlock:
            answer = pool.submit(
                fleet.site.get,
                f"/controls/change/?page={page}&path={path}&end={end}",
                worker=fleet.workers[0],
            )
            wait_until(lambda: waits_for_lock(database), 10, "the open transaction")
            for _ in range(3):
                assert fleet.statuses("/en/news/first-story/") == [200, 200]
                assert fleet.statuses(f"/en/{path}/first-story/") == [404, 404]
            unlock()
            assert answer.result(10).text == end
        if end == "rollback":
            fleet.wait_for_push()
            assert fleet.statuses("/en/news/first-story/") == [200, 200]
            assert fleet.statuses(f"/en/{path}/first-story/") == [404, 404]
    fleet.wait_for("/en/committed/first-story/", timeout=5)
    assert fleet.statuses("/en/news/first-story/") == [404, 404]
    fleet.wait_for_push()
    assert fleet.statuses("/en/committed/first-story/") == [200, 200]


class locked:  # noqa: N801
    """Hold the advisory lock that the change waits for."""

    def __init__(self, database: Any) -> None:
        import psycopg

        self._connection = psycopg.connect(database.dsn, autocommit=True)

    def __enter__(self) -> Any:
        self._connection.execute("SELECT pg_advisory_lock(1)")
        return self._connection.close

    def __exit__(self, *error: object) -> None:
        self._connection.close()


def waits_for_lock(database: Any) -> bool:
    return bool(
        database.sql(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() "
            "AND wait_event = 'advisory'"
        )
    )


def test_urls_built_before_the_fork__are_checked_by_each_worker(start: Any, database: Any) -> None:
    fleet = start(
        workers=2,
        preload=True,
        urlreload={"HEARTBEAT_INTERVAL": 600},
        env={"DEMO_WSGI_APP": "tests.e2e.controls.wsgi_built_early:application"},
    )
    assert fleet.statuses("/en/changed/first-story/") == [200, 200]
    assert fleet.statuses("/en/news/first-story/") == [404, 404]
    assert fleet.reverse("news:story-list") == ["/en/changed/", "/en/changed/"]


def test_urls_appended_at_run_time__survive__and_no_module_is_executed_again(
    start: Any, database: Any, tmp_path: Any
) -> None:
    imports = tmp_path / "imports"
    fleet = start(workers=2, env={"CONTROLS_IMPORTS": str(imports)})
    fleet.ping()
    fleet.wait_for_push()
    assert fleet.statuses("/controls/append/") == [200, 200]
    for path in ("one", "two"):
        database.move("news", path)
        database.notify()
        fleet.wait_for(f"/en/{path}/first-story/")
        assert fleet.statuses("/appended/") == [200, 200]
        assert fleet.reverse("appended") == ["/appended/", "/appended/"]
        assert fleet.reverse("news:story-list") == [f"/en/{path}/"] * 2
    pids = imports.read_text().split()
    assert len(pids) == len(set(pids))
    assert {str(worker.pid) for worker in fleet.workers} <= set(pids)
