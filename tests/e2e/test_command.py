"""``manage.py urlreload``, in a process of its own, beside real workers."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.demo.site import ROOT
from tests.e2e.conftest import Database, Fleet
from tests.e2e.lines import LineProcess, environment, move_by_sql
from tests.support.postgres import replace_dbname
from tests.support.waiting import wait_until


@pytest.fixture
def env(database: Database) -> dict[str, str]:
    return environment(database.dsn, "tests.e2e.controls")


def urlreload(env: dict[str, str], *arguments: str) -> tuple[int, str]:
    """Run it; return its exit code, and what it wrote."""
    answer = subprocess.run(
        [sys.executable, "-m", "tests.demo.manage", "urlreload", "--no-color", *arguments],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in answer.stderr, answer.stderr
    return answer.returncode, answer.stdout + answer.stderr


@pytest.fixture
def fleet(start: Any) -> Fleet:
    fleet: Fleet = start(workers=2, urlreload={"HEARTBEAT_INTERVAL": 600})
    fleet.ping()
    fleet.wait_for_push()
    # That a worker looks at the token before its next answer is shown for a second longer.
    wait_until(lambda: not fleet.database.in_doubt(), 10, "an end of all doubt")
    return fleet


class TestStatus:
    def test_of_workers_that_are_current(self, fleet: Fleet, env: dict[str, str]) -> None:
        code, text = urlreload(env, "status")
        assert code == 0
        assert f"In the database: {fleet.token()}\n" in text
        for worker in fleet.workers:
            assert re.search(rf"{worker.pid} +{fleet.token()} +\d{{4}}-.* current\n", text)
        assert "2 workers are told of changes, none behind." in text

    def test_of_workers_that_nobody_has_asked_anything_since_a_change(
        self, fleet: Fleet, env: dict[str, str], database: Database
    ) -> None:
        move_by_sql(database, "news", "moved")

        def knows() -> bool:
            code, text = urlreload(env, "status")
            return code == 0 and text.count("current at its next request") == 2

        wait_until(knows, 20, lambda: urlreload(env, "status")[1])

    def test_of_a_worker_that_is_behind(
        self, fleet: Fleet, env: dict[str, str], database: Database
    ) -> None:
        stopped = fleet.workers[0]
        os.kill(stopped.pid, signal.SIGSTOP)
        try:
            move_by_sql(database, "news", "moved")
            code, text = urlreload(env, "status")
            assert code == 1
            assert re.search(rf"{stopped.pid} .* BEHIND\n", text)
            code, text = urlreload(env, "status", "--json")
            assert code == 1
            found = json.loads(text)
            assert found["token"] == fleet.token()
            assert found["all_know"] is False
            [behind] = [worker for worker in found["workers"] if worker["pid"] == stopped.pid]
            assert (behind["current"], behind["knows"]) == (False, False)
        finally:
            os.kill(stopped.pid, signal.SIGCONT)
        # It was stopped for a moment, and lost nothing.
        fleet.wait_for("/en/moved/first-story/", timeout=10)

    def test_where_nobody_listens(self, env: dict[str, str]) -> None:
        code, text = urlreload(env, "status")
        assert code == 2
        assert "No worker is told of changes" in text

    def test_where_nothing_pushes(self, tmp_path: Path) -> None:
        env = environment(f"sqlite:///{tmp_path}/site.db", "tests.e2e.controls")
        migrate = [sys.executable, "-m", "tests.demo.manage", "migrate", "-v", "0"]
        subprocess.run(migrate, cwd=ROOT, env=env, check=True, timeout=120)
        for arguments in (("status",), ("reload", "--wait", "1"), ("watch",)):
            code, text = urlreload(env, *arguments)
            assert code == 2
            assert "Nothing pushes from sqlite here" in text
        code, text = urlreload(env, "status", "--json")
        assert code == 2
        assert json.loads(text)["workers"] is None
        code, text = urlreload(env, "doctor")
        assert code == 0
        assert "Each process asks every 1 seconds." in text

    def test_where_the_database_does_not_answer(self, env: dict[str, str]) -> None:
        env = {**env, "DEMO_DATABASE_URL": "postgresql://x:secret@127.0.0.1:1/none"}
        code, text = urlreload(env, "status")
        assert code == 2
        assert "The database cannot answer" in text
        assert "secret" not in text


class TestReload:
    def test_every_worker_builds_anew(self, fleet: Fleet, env: dict[str, str]) -> None:
        before, old = fleet.reloads(), fleet.token()
        code, text = urlreload(env, "reload", "--wait", "20")
        assert code == 0
        assert "2 of 2 workers know." in text
        assert fleet.token() != old
        fleet.wait_for_push()
        # The controls' get_urls() returns what it did before; so nothing had to be replaced.
        assert fleet.reloads() == before

    def test_what_get_urls_reads_and_nobody_declared_is_found(
        self, start: Any, env: dict[str, str], tmp_path: Path
    ) -> None:
        flag = tmp_path / "broken"
        fleet = start(workers=2, env={"CONTROLS_BREAK_NEWS": str(flag)})
        fleet.ping()
        fleet.wait_for_push()
        flag.touch()
        assert urlreload(env, "reload", "--wait", "20")[0] == 0
        # get_urls() was called in each of them.
        wait_until(
            lambda: fleet.ping() or fleet.log.count("told to break") >= 2, 10, "both to build"
        )

    def test_a_worker_that_does_not_know_in_time_is_named(
        self, fleet: Fleet, env: dict[str, str]
    ) -> None:
        stopped = fleet.workers[0]
        os.kill(stopped.pid, signal.SIGSTOP)
        try:
            code, text = urlreload(env, "reload", "--wait", "2")
        finally:
            os.kill(stopped.pid, signal.SIGCONT)
        assert code == 1
        assert "After 2 seconds, these do not:" in text
        assert text.rstrip().endswith(str(stopped.pid))


def test_watch__tells_what_happens(
    fleet: Fleet, env: dict[str, str], database: Database, tmp_path: Path
) -> None:
    first, second = fleet.workers
    command = ("-m", "tests.demo.manage", "urlreload", "--no-color", "watch")
    with LineProcess(tmp_path / "watch.log", env, *command) as watch:
        lines = [watch.hear()[0] for _ in range(3)]
        assert lines[0].endswith(f"in the database: {fleet.token()}")
        assert {line.split()[2] for line in lines[1:]} == {str(first.pid), str(second.pid)}
        move_by_sql(database, "news", "moved")
        assert watch.hear()[0].endswith(f"in the database: {fleet.token()}")
        seen: list[str] = []

        def both_are_current() -> bool:
            fleet.ping()
            seen.extend(watch.hear())
            current = [line.split()[2] for line in seen if line.endswith(", current")]
            return {str(first.pid), str(second.pid)} <= set(current)

        wait_until(both_are_current, 20, lambda: "\n".join(seen))
        fleet.site.kill_worker(first)
        wait_until(
            lambda: any("told of nothing any more" in line for line in watch.hear()), 20, "the end"
        )
        watch.child.send_signal(signal.SIGINT)
        assert watch.child.wait(10) == 0
        assert "Traceback" not in watch.log


class TestDoctor:
    def test_where_all_is_well(self, env: dict[str, str]) -> None:
        code, text = urlreload(env, "doctor")
        assert code == 0
        for what in ("checks", "address", "connections", "heartbeat", "probe"):
            assert re.search(rf"^ok +{what}: ", text, re.MULTILINE)
        assert re.search(r"probe: A notification arrived after \d+\.\d ms\.", text)

    def test_without_the_triggers(self, env: dict[str, str], database: Database) -> None:
        for (name,) in database.sql(
            "SELECT DISTINCT tgname FROM pg_trigger WHERE tgname LIKE 'cms_urlreload%%' "
            "AND tgrelid = 'cms_pageurl'::regclass"
        ):
            database.sql(f'DROP TRIGGER "{name}" ON cms_pageurl')
        code, text = urlreload(env, "doctor")
        assert code == 1
        assert re.search(r"^WRONG +cms_urlreload_pg.W005: .*cms_pageurl", text, re.MULTILINE)
        assert "manage.py migrate" in text

    @pytest.mark.parametrize(
        ("options", "what", "remedy"),
        [
            ({"LISTEN": False}, "listener: Not started", ""),
            ({"POLL_INTERVALL": 1}, "unknown key 'POLL_INTERVALL'", "Known keys: "),
            ({"LISTEN_DATABASE": "other"}, "which is not in DATABASES", "Aliases: default"),
        ],
    )
    def test_with_wrong_settings(
        self, options: dict[str, Any], what: str, remedy: str, env: dict[str, str]
    ) -> None:
        env = {**env, "DEMO_CMS_URLRELOAD": json.dumps(options)}
        code, text = urlreload(env, "doctor")
        assert code == 1
        assert what in text
        assert remedy in text

    def test_with_the_address_of_another_database(
        self, env: dict[str, str], database: Database
    ) -> None:
        elsewhere = replace_dbname(database.dsn, "postgres")
        options = {"LISTEN_DSN": elsewhere, "HEARTBEAT_TIMEOUT": 0.5}
        code, text = urlreload({**env, "DEMO_CMS_URLRELOAD": json.dumps(options)}, "doctor")
        assert code == 1
        assert "The listener's role cannot read what decides routing" in text
        assert "has not arrived on the listener's within 0.5 seconds" in text
        assert "CMS_URLRELOAD['LISTEN_DSN'] must lead to PostgreSQL itself" in text

    def test_with_an_address_where_nobody_is(self, env: dict[str, str]) -> None:
        options = {"LISTEN_DSN": "postgresql://x:secret@127.0.0.1:1/none"}
        code, text = urlreload({**env, "DEMO_CMS_URLRELOAD": json.dumps(options)}, "doctor")
        assert code == 1
        assert re.search(r"^WRONG +address: No connection: ", text, re.MULTILINE)
        assert "CMS_URLRELOAD['LISTEN_DSN']" in text
        assert "secret" not in text
