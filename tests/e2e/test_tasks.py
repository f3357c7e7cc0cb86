"""Processes that answer no HTTP request: a Celery worker, a command that runs for hours, an
asyncio consumer. Nothing is found by a heartbeat here; there is none in time."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import django
import pytest
from celery import exceptions

from tests.e2e.conftest import Database
from tests.e2e.lines import LineProcess, environment, move_by_sql, move_in_shell, shell
from tests.e2e.sections.celery_app import make_app
from tests.support import redis
from tests.support.waiting import wait_until


@pytest.fixture
def env(database: Database) -> dict[str, str]:
    apps = "tests.e2e.controls tests.e2e.sections"
    return environment(database.dsn, apps, HEARTBEAT_INTERVAL=600)


def wait_for_listeners(database: Database, count: int) -> None:
    wait_until(lambda: len(database.fleet()) == count, 20, lambda: f"{database.fleet()}")


def wait_for_fleet(database: Database, pids: set[int]) -> None:
    """Wait until these processes listen, and no others."""
    wait_until(
        lambda: {pid for pid, _ in database.fleet()} == pids,
        20,
        lambda: f"{pids} to listen: {database.fleet()}",
    )


def wait_for_answer(process: LineProcess, name: str, url: str) -> None:
    """A notification takes its millisecond; and where there is none, the poll its second."""
    wait_until(lambda: process.ask(name) == url, 20, lambda: f"{url}; log:\n{process.log}")


# Celery


class CeleryWorker:
    """A worker of Celery's, and somebody who gives it tasks."""

    def __init__(
        self, folder: Path, env: dict[str, str], redis_url: str, pool: str, *options: str
    ) -> None:
        folder.mkdir()
        #: How many tasks it has in hand at a time.
        self.tasks = 1 if pool == "solo" else 2
        self._folder = folder
        self._app = make_app(redis_url)
        self._rounds = 0
        quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
        self.process = LineProcess(
            folder / "worker.log",
            {**env, "SECTIONS_REDIS": redis_url},
            *("-m", "celery", "-A", "tests.e2e.sections.celery_worker", "worker"),
            *("--pool", pool, "--concurrency", str(self.tasks), "--loglevel", "INFO"),
            *(*quiet, *options),
        )

    @property
    def pid(self) -> int:
        return self.process.child.pid

    @property
    def log(self) -> str:
        return self.process.log

    def reverse(self, name: str) -> list[tuple[int, str]]:
        """Pid and answer of each of as many tasks as it has in hand at a time."""
        self._rounds += 1
        folder = self._folder / f"round-{self._rounds}"
        folder.mkdir()
        given = (name, str(folder), self.tasks)
        results = [self._app.send_task("reverse_in_company", given) for _ in range(self.tasks)]
        try:
            answers = [result.get(timeout=20) for result in results]
        except exceptions.TimeoutError:
            raise TimeoutError(f"no answer from the worker; its log:\n{self.log}") from None
        finally:
            for result in results:
                result.forget()  # or it asks Redis for more, when it is collected
        return [(answer["pid"], answer["url"]) for answer in answers]

    def reverse_in_each(self, name: str) -> dict[int, str]:
        """What each process of the pool answers, in its next task."""
        answers = dict(self.reverse(name))
        assert len(answers) == self.tasks
        return answers

    def wait_for(self, name: str, url: str) -> None:
        """A notification takes its millisecond."""

        def is_right() -> bool:
            return {answer for _, answer in self.reverse(name)} == {url}

        wait_until(is_right, 20, lambda: f"{url}; log:\n{self.log}")

    def end(self, database: Database) -> None:
        """Ask it to end, as a supervisor does; it does so by itself, and leaves nothing behind."""
        asked = time.monotonic()
        self.process.child.terminate()
        assert self.process.child.wait(20) == 0, self.log
        print(f"The worker ended in {time.monotonic() - asked:.1f} s.")
        wait_until(lambda: not self._has_processes(), 10, "its processes to end")
        wait_until(lambda: not sessions(database), 10, lambda: f"{sessions(database)} to end")
        # Nobody lost a connection, or was told late.
        for trouble in ("Poll:", "found by the heartbeat", "Traceback"):
            assert trouble not in self.log

    def _has_processes(self) -> bool:
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def __enter__(self) -> CeleryWorker:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.__exit__(*error)
        self._app.backend.result_consumer.stop()
        self._app.backend.client.connection_pool.disconnect()
        self._app.pool.force_close_all()
        self._app.close()


def sessions(database: Database) -> list[str]:
    """Who has a connection to the database, but for us."""
    rows = database.sql(
        "SELECT application_name FROM pg_stat_activity WHERE datname = current_database() "
        "AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    return [name for (name,) in rows]


@pytest.fixture
def start_celery(tmp_path: Path, env: dict[str, str]) -> Iterator[Callable[..., CeleryWorker]]:
    """Start a worker of a kind of pool, with more options of ``celery worker``."""
    if reason := redis.missing():
        pytest.skip(reason)
    with redis.RedisServer() as server:
        with contextlib.ExitStack() as stack:

            def start(pool: str, *options: str, **more: str) -> CeleryWorker:
                place = tmp_path / "celery"
                worker = CeleryWorker(place, {**env, **more}, server.url, pool, *options)
                return stack.enter_context(worker)

            yield start
        wait_until(lambda: server.clients() == 0, 10, "the connections to Redis to end")


@pytest.mark.redis
def test_celery__each_process_of_the_pool_is_right_in_its_next_task(
    start_celery: Callable[..., CeleryWorker], database: Database, env: dict[str, str]
) -> None:
    worker = start_celery("prefork")
    page = database.pages["news"]["id"]
    first = worker.reverse_in_each("news:story-list")
    assert set(first.values()) == {"/en/news/"}
    # Each process of the pool listens; the one that gives them their tasks need not.
    wait_for_fleet(database, set(first))
    for path in ("one", "two"):
        move_in_shell(env, page, path)
        assert worker.reverse_in_each("news:story-list") == dict.fromkeys(first, f"/en/{path}/")
    shell(
        env,
        f"from cms.models import Page; p = Page.objects.get(pk={page}); "
        "p.application_urls = ''; p.save()",
    )
    assert worker.reverse_in_each("news:story-list") == dict.fromkeys(first, "-")
    for number in range(5):
        move_by_sql(database, "events", f"by-sql-{number}")
        worker.wait_for("events:event-list", f"/en/by-sql-{number}/")
    wait_for_fleet(database, set(first))
    worker.end(database)


@pytest.mark.redis
def test_celery__a_process_that_takes_anothers_place_has_a_listener_of_its_own(
    start_celery: Callable[..., CeleryWorker], database: Database, env: dict[str, str]
) -> None:
    # The process that forks them is current and listens too, as code of a site's own may have it.
    # They must take neither for theirs, nor end its session.
    worker = start_celery("prefork", "--max-tasks-per-child", "2", SECTIONS_MAIN_IS_FRESH="1")
    page = database.pages["news"]["id"]
    ended: set[int] = set()
    for number in range(2):
        wait_for_fleet(database, {worker.pid})
        move_in_shell(env, page, f"first-{number}")
        first = worker.reverse_in_each("news:story-list")
        assert first == dict.fromkeys(first, f"/en/first-{number}/")
        assert not ended & set(first)
        wait_for_fleet(database, {worker.pid, *first})
        move_in_shell(env, page, f"second-{number}")
        second = worker.reverse_in_each("news:story-list")
        assert second == dict.fromkeys(first, f"/en/second-{number}/")
        ended |= set(first)
    worker.end(database)


@pytest.mark.redis
@pytest.mark.parametrize("pool", ["solo", "threads", "gevent"])
def test_celery__a_pool_within_one_process_is_right(
    start_celery: Callable[..., CeleryWorker], database: Database, pool: str
) -> None:
    worker = start_celery(pool)
    assert set(worker.reverse("news:story-list")) == {(worker.pid, "/en/news/")}
    wait_for_fleet(database, {worker.pid})
    for number in range(5):
        move_by_sql(database, "news", f"news-{number}")
        worker.wait_for("news:story-list", f"/en/news-{number}/")
    worker.end(database)


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
