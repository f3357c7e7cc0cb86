"""Every web server that people run django CMS on: a change is seen by all of its workers, and none
of its processes hangs at the end. What comes out is the table in docs/servers.md."""

from __future__ import annotations

import os
import re
import secrets
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.demo.site import ROOT
from tests.e2e.conftest import Database
from tests.e2e.lines import move_by_sql
from tests.e2e.servers import catalogue
from tests.e2e.servers.catalogue import GUNICORN, WebServer, gunicorn, uwsgi
from tests.e2e.servers.compiled import MissingError
from tests.e2e.servers.running import NEVER, RunningServer
from tests.support.waiting import wait_until

Start = Callable[..., RunningServer]


@pytest.fixture
def start(database: Database, tmp_path: Path) -> Iterator[Start]:
    """Start a server on the demo site; keywords are environment variables."""
    with ExitStack() as stack:

        def make(server: WebServer, **env: str) -> RunningServer:
            try:
                running = RunningServer(server, database, tmp_path, env)
            except MissingError as error:
                pytest.skip(str(error))
            stack.callback(running.kill)
            running.wait_until_up()
            return running

        yield make


def each(*servers: WebServer) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("server", servers, ids=str)


def move(database: Database) -> tuple[str, str]:
    """Change the URL of the news in SQL, so that the triggers alone can tell of it; return a story
    below the old one and the new one."""
    old = database.sql(
        "SELECT path FROM cms_pageurl WHERE page_id = %s AND language = 'en'",
        database.pages["news"]["id"],
    )[0][0]
    new = f"news-{secrets.token_hex(4)}"
    move_by_sql(database, "news", new)
    return f"/en/{old}/first-story/", f"/en/{new}/first-story/"


def move_and_wait(running: RunningServer, database: Database) -> None:
    old, new = move(database)
    running.wait_for(new, 200)
    running.wait_for(old, 404)


def check_the_end(running: RunningServer, database: Database) -> None:
    """No session is left, and nothing went wrong."""

    def sessions() -> list[str]:
        rows = database.sql(
            "SELECT application_name FROM pg_stat_activity WHERE datname = current_database() "
            "AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return [name for (name,) in rows]

    wait_until(lambda: not sessions(), 10, lambda: f"the end of the sessions {sessions()}")
    for trouble in ("Traceback", "Exception ignored", "Fatal Python error", "Segmentation"):
        assert trouble not in running.log, running.log[-5000:]


@each(*(server for server in catalogue.ALL if not server.polls))
def test_a_change_is_pushed_to_all_workers__and_no_process_hangs_at_the_end(
    server: WebServer, start: Start, database: Database
) -> None:
    running = start(server)
    running.wait_for("/en/news/first-story/", 200)
    pids = running.wait_for_push()
    assert len(pids) == server.workers
    for _ in range(2):
        move_and_wait(running, database)
    assert running.wait_for_push() == pids
    if server.renews_at:
        running.renew()
        others = running.wait_for_push()
        assert not others & pids
        move_and_wait(running, database)
        assert running.wait_for_push() == others
    assert "Poll: " not in running.log
    running.end()
    check_the_end(running, database)


@each(*(server for server in catalogue.ALL if server.polls))
def test_a_change_is_polled_for_where_threads_are_disabled__and_the_log_says_what_to_do(
    server: WebServer, start: Start, database: Database
) -> None:
    running = start(server)
    for _ in range(2):
        move_and_wait(running, database)
    assert database.fleet() == []
    lines = re.findall(r"\[(\d+)\] WARNING .*: Poll: .*enable-threads", running.log)
    assert sorted(map(int, lines)) == sorted(running.ask("/ping/"))
    running.end()
    check_the_end(running, database)


@each(
    *(gunicorn(name, preload=True) for name in GUNICORN),
    catalogue.UVICORN,
    catalogue.GRANIAN_ASGI,
    catalogue.DAPHNE,
    catalogue.HYPERCORN,
    catalogue.WAITRESS,
    uwsgi(),
    catalogue.MOD_WSGI_DAEMON,
)
def test_another_way_to_stop__leaves_no_process_either(
    server: WebServer, start: Start, database: Database
) -> None:
    """Ctrl-C; gunicorn's quick stop; Apache's graceful one."""
    running = start(server)
    running.wait_for_push()
    if server is catalogue.MOD_WSGI_DAEMON:
        running.end(signal.SIGWINCH)
    else:
        # The workers of gunicorn would be told twice: by the terminal and by their master.
        running.end(signal.SIGINT, at_terminal=not server.title.startswith("gunicorn"))
    check_the_end(running, database)


def wait_until_heard(database: Database) -> None:
    """Wait until each worker that listens has shown that it was told of the last change: by an
    asterisk, as long as it is asked nothing."""

    def shown() -> list[str]:
        names = database.sql(
            "SELECT application_name FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name LIKE 'cms-urlreload %'"
        )
        return [name.split()[1] for (name,) in names]

    token = database.token().short
    wait_until(
        lambda: all(served.endswith("*") or served == token for served in shown()),
        20,
        lambda: f"all to be told: {shown()}",
    )


# Where the application is loaded once, by the master, a worker is there soon.
@each(
    gunicorn("sync", "--max-requests 5"),
    *(gunicorn(name, "--max-requests 5", preload=True) for name in GUNICORN),
)
def test_workers_that_are_replaced_while_urls_change__give_no_wrong_answer(
    server: WebServer, start: Start, database: Database
) -> None:
    # A worker that does not listen yet asks at each request, and one that does asks never.
    settings = f'{{"HEARTBEAT_INTERVAL": {NEVER}, "POLL_INTERVAL": 0}}'
    running = start(server, DEMO_CMS_URLRELOAD=settings)
    answers: Counter[tuple[str, int | None]] = Counter()
    pids = set()
    for _ in range(4):
        old, new = move(database)
        wait_until_heard(database)
        for name, path in (("new", new), ("old", old), ("other", "/en/events/summer-party/")) * 3:
            answer = running.get(path)
            answers[name, answer and answer.status] += 1
            if answer:
                pids.add(answer.pid)
    print(dict(answers), len(pids), "workers")
    assert set(answers) == {("new", 200), ("old", 404), ("other", 200)}
    assert len(pids) > server.workers
    assert running.log.count("Push: ") > server.workers
    assert "Poll: " not in running.log
    running.end()
    check_the_end(running, database)


def test_runserver__listens_in_the_child_alone__and_again_when_a_file_was_touched(
    start: Start, database: Database, tmp_path: Path
) -> None:
    app = tmp_path / "touched_app"
    app.mkdir()
    module = app / "__init__.py"
    module.touch()
    path = os.pathsep.join([str(ROOT), str(tmp_path)])
    running = start(catalogue.RUNSERVER, PYTHONPATH=path, DEMO_EXTRA_APPS=app.name)
    (first,) = running.wait_for_push()
    assert first != running.pid
    move_and_wait(running, database)
    module.write_text("# touched\n")
    wait_until(lambda: first not in running.processes(), 20, "the autoreloader")
    running.wait_until_up()
    (second,) = running.wait_for_push()
    assert second not in (first, running.pid)
    move_and_wait(running, database)
    running.end(signal.SIGINT, at_terminal=True)
    check_the_end(running, database)


def test_a_master_that_listens_before_it_forks__keeps_its_session__and_its_workers_have_their_own(
    start: Start, database: Database
) -> None:
    server = gunicorn("sync", preload=True)
    running = start(server, DEMO_WSGI_APP="tests.e2e.servers.wsgi_asks_early:application")
    pids = running.wait_for_push(running.pid)
    move_and_wait(running, database)
    assert running.wait_for_push(running.pid) == pids
    running.end()
    check_the_end(running, database)


@pytest.mark.parametrize("options", [(), ("--py-call-uwsgi-fork-hooks",)], ids=str)
def test_the_master_of_uwsgi__never_listens(
    options: tuple[str, ...], start: Start, database: Database
) -> None:
    """It forks in C, which a thread that lives at that moment would hang."""
    server = uwsgi(*options, app="tests.e2e.servers.wsgi_asks_early:application")
    # The workers inherit what the master knows, and that it was current for so long.
    running = start(server, DEMO_CMS_URLRELOAD=f'{{"HEARTBEAT_INTERVAL": {NEVER}}}')
    assert running.pid not in running.wait_for_push()
    move_and_wait(running, database)
    running.end()
    check_the_end(running, database)


def test_the_documentation__says_what_was_measured() -> None:
    text = (ROOT / "docs" / "servers.md").read_text()
    rows = dict(re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|", text, re.MULTILINE))
    for server in catalogue.ALL:
        assert rows[server.title].startswith("poll" if server.polls else "push"), server.title
