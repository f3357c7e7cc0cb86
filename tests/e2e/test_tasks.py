"""Processes that answer no HTTP request: a Celery worker, a command that runs for hours, an
asyncio consumer. Nothing is found by a heartbeat here; there is none in time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import django
import pytest
from celery import exceptions

from tests.e2e.conftest import Database
from tests.e2e.lines import LineProcess, environment, move_by_sql, move_in_shell, shell
from tests.e2e.sections.celery_app import make_app
from tests.support.waiting import wait_until

WORKERS = 2


@pytest.fixture
def env(database: Database) -> dict[str, str]:
    apps = "tests.e2e.controls tests.e2e.sections"
    return environment(database.dsn, apps, HEARTBEAT_INTERVAL=600)


def wait_for_listeners(database: Database, count: int) -> None:
    wait_until(lambda: len(database.fleet()) == count, 20, lambda: f"{database.fleet()}")


def wait_for_answer(process: LineProcess, name: str, url: str) -> None:
    """A notification takes its millisecond; and where there is none, the poll its second."""
    wait_until(lambda: process.ask(name) == url, 20, lambda: f"{url}; log:\n{process.log}")


# Celery


class Celery:
    """A worker with two processes, and somebody who gives it tasks."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        folder.mkdir()
        self._folder = folder
        self._app = make_app(folder)
        self._rounds = 0
        options = ("--pool", "prefork", "--concurrency", str(WORKERS), "--loglevel", "INFO")
        quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
        self.process = LineProcess(
            folder / "worker.log",
            {**env, "SECTIONS_CELERY": str(folder)},
            *("-m", "celery", "-A", "tests.e2e.sections.celery_worker", "worker"),
            *(*options, *quiet),
        )

    def reverse(self, name: str) -> dict[int, str]:
        """What each of the processes answers, in its next task."""
        # A broker of files may read a message that is still being written, and loses it; then
        # the other process has waited for nobody, and both are asked again.
        for _ in range(3):
            found = self._reverse(name)
            if len(found) == WORKERS:
                return found
        raise TimeoutError(f"no answer from the worker; its log:\n{self.process.log}")

    def _reverse(self, name: str) -> dict[int, str]:
        self._rounds += 1
        folder = self._folder / f"round-{self._rounds}"
        folder.mkdir()
        results = [
            self._app.send_task("reverse_in_company", (name, str(folder), WORKERS))
            for _ in range(WORKERS)
        ]
        found = {}
        for result in results:
            with contextlib.suppress(exceptions.TimeoutError):
                answer = result.get(timeout=20, interval=0.05)
                found[answer["pid"]] = answer["url"]
        return found

    def __enter__(self) -> Celery:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.__exit__(*error)
        self._app.close()


@pytest.fixture
def celery(tmp_path: Path, env: dict[str, str]) -> Iterator[Celery]:
    with Celery(tmp_path / "celery", env) as worker:
        yield worker


@pytest.mark.celery
def test_celery__each_process_is_right_in_its_next_task(
    celery: Celery, database: Database, env: dict[str, str]
) -> None:
    page = database.pages["news"]["id"]
    first = celery.reverse("news:story-list")
    assert set(first.values()) == {"/en/news/"}
    # Each process of the pool listens; the one that gives them their tasks need not.
    wait_until(lambda: {pid for pid, _ in database.fleet()} == set(first), 20, "the listeners")
    for path in ("one", "two"):
        move_in_shell(env, page, path)
        assert celery.reverse("news:story-list") == dict.fromkeys(first, f"/en/{path}/")
    shell(
        env,
        f"from cms.models import Page; p = Page.objects.get(pk={page}); "
        "p.application_urls = ''; p.save()",
    )
    assert celery.reverse("news:story-list") == dict.fromkeys(first, "-")
    for number in range(5):
        move_by_sql(database, "events", f"by-sql-{number}")
        assert set(celery.reverse("events:event-list").values()) == {f"/en/by-sql-{number}/"}
    assert "found by the heartbeat" not in celery.process.log
    assert "Traceback" not in celery.process.log


# Django's own tasks


def test_a_task_of_djangos_own_is_right(
    database: Database, env: dict[str, str], tmp_path: Path
) -> None:
    if django.VERSION < (6, 0):
        pytest.importorskip("django_tasks")
        env["DEMO_EXTRA_APPS"] += " django_tasks"
    log = tmp_path / "tasks.log"
    with LineProcess(log, env, "-m", "tests.e2e.sections.django_tasks_lines") as worker:
        assert worker.ask("news:story-list") == "/en/news/"
        wait_for_listeners(database, 1)
        for number in range(5):
            move_by_sql(database, "news", f"news-{number}")
            wait_for_answer(worker, "news:story-list", f"/en/news-{number}/")
        worker.end()
        assert "Traceback" not in worker.log


# A command


def test_a_command_that_runs_for_hours__is_right_at_each_piece_of_work(
    database: Database, env: dict[str, str], tmp_path: Path
) -> None:
    log = tmp_path / "command.log"
    with LineProcess(log, env, "-m", "tests.demo.manage", "reverse_lines") as command:
        assert command.ask("news:story-list") == "/en/news/"
        wait_for_listeners(database, 1)
        move_in_shell(env, database.pages["news"]["id"], "moved")
        assert command.ask("news:story-list") == "/en/moved/"
        for number in range(20):
            move_by_sql(database, "news", f"news-{number}")
            wait_for_answer(command, "news:story-list", f"/en/news-{number}/")
        # The server ends the connection that it reads by, and that it listens by.
        database.sql(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        move_by_sql(database, "news", "after")
        wait_for_answer(command, "news:story-list", "/en/after/")
        command.end()
        assert "Traceback" not in command.log


# A consumer

MESSAGES = 50


def test_a_consumer__is_right_under_changes__and_its_loop_is_not_blocked(
    database: Database, env: dict[str, str], tmp_path: Path
) -> None:
    # Each build takes 0.2 s, so that a loop which waited for one would show it.
    env = {**env, "CONTROLS_SLOW_BUILD": "0.2"}
    log = tmp_path / "consumer.log"
    numbers = iter(range(100_000))
    with LineProcess(log, env, "-m", "tests.e2e.sections.consumer") as consumer:
        consumer.tell(f"{next(numbers)} news:story-list")
        assert consumer.hear() == ["0 /en/news/"]
        wait_for_listeners(database, 1)
        allowed = {"/en/news/"}
        for change in range(5):
            move_by_sql(database, "news", f"news-{change}")
            allowed.add(f"/en/news-{change}/")
            consumer.tell(*(f"{next(numbers)} news:story-list" for _ in range(MESSAGES)))
            answers = {line.partition(" ")[2] for line in consumer.hear(MESSAGES)}
            assert answers <= allowed, answers

            def is_right(expected: str = f"/en/news-{change}/") -> bool:
                return consumer.ask(f"{next(numbers)} news:story-list").endswith(expected)

            wait_until(is_right, 10, "the change")
            allowed = {f"/en/news-{change}/"}
        assert consumer.child.stdin is not None
        consumer.child.stdin.close()
        [late] = consumer.hear()
        consumer.child.wait(20)
    assert int(late.removeprefix("late ")) < 150
    assert "SynchronousOnlyOperation" not in log.read_text()
    assert "Traceback" not in log.read_text()
