"""A process with a listener in it: how it ends, and how it forks."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.e2e.conftest import Database
from tests.e2e.lines import LineProcess, environment, move_by_sql
from tests.support.postgres import replace_dbname
from tests.support.proxy import Proxy
from tests.support.waiting import wait_until


@pytest.fixture
def proxy(database: Database) -> Any:
    parts = urlsplit(database.dsn)
    with Proxy(parts.hostname or "", parts.port or 0) as proxy:
        yield proxy


@pytest.fixture
def begin(database: Database, tmp_path: Path) -> Callable[..., LineProcess]:
    def make(port: int | None = None, **urlreload: Any) -> LineProcess:
        if port is not None:
            parts = urlsplit(database.dsn)
            netloc = f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{port}"
            urlreload["LISTEN_DSN"] = str(parts._replace(netloc=netloc).geturl())
        env = environment(database.dsn, "tests.e2e.controls", **urlreload)
        return LineProcess(tmp_path / "process.log", env, "-m", "tests.e2e.status_lines")

    return make


def status(process: LineProcess) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(process.ask("status"))
    return answer


def wait_for_mode(process: LineProcess, mode: str, reason: str = "") -> None:
    def is_so() -> bool:
        found = status(process)
        return found["mode"] == mode and reason in found["reason"]

    wait_until(is_so, 20, lambda: f"{mode}; log:\n{process.log}")


def end(process: LineProcess) -> None:
    """It ends at once, although what it is in the middle of could take a minute."""
    began = time.monotonic()
    process.end()
    seconds = time.monotonic() - began
    print(f"ended after {seconds:.2f} s")
    # The bound is two seconds; the rest is for a machine that has other things to do.
    assert seconds < 10
    assert "Traceback" not in process.log


class TestEnd:
    def test_while_it_listens(self, begin: Any, database: Database) -> None:
        with begin() as process:
            wait_for_mode(process, "push")
            end(process)
        wait_until(lambda: not database.fleet(), 10, "the end of the session")

    def test_during_the_back_off(self, begin: Any, proxy: Proxy) -> None:
        proxy.refuses = True
        with begin(proxy.port) as process:
            wait_for_mode(process, "poll", "the listener has no connection")
            end(process)

    def test_during_a_heartbeat_that_hangs(self, begin: Any, proxy: Proxy) -> None:
        with begin(proxy.port, HEARTBEAT_INTERVAL=0.5, HEARTBEAT_TIMEOUT=60) as process:
            wait_for_mode(process, "push")
            proxy.drops = True
            lease = status(process)["lease"]
            # No answer extends it any more.
            wait_until(lambda: status(process)["lease"] < lease - 2, 20, "a heartbeat that hangs")
            end(process)

    def test_during_a_probe_that_does_not_arrive(self, begin: Any, database: Database) -> None:
        elsewhere = replace_dbname(database.dsn, "postgres")
        with begin(LISTEN_DSN=elsewhere, HEARTBEAT_TIMEOUT=60) as process:
            status(process)
            listening = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN %%probe%%'"
            wait_until(lambda: database.sql(listening) == [(1,)], 20, "the probe's LISTEN")
            end(process)

    def test_during_connect(self, begin: Any) -> None:
        # Accepts, by its backlog, and never says a word.
        with socket.create_server(("127.0.0.1", 0)) as silent:
            with begin(silent.getsockname()[1], CONNECT_TIMEOUT=60) as process:
                assert process.ask("news:story-list") == "/en/news/"
                end(process)


class TestFork:
    """A child has a listener of its own, and its parent's goes on."""

    def session_of(self, database: Database, pid: int) -> list[Any]:
        return database.sql(
            "SELECT pid, backend_start FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name LIKE %s",
            f"cms-urlreload % {pid}@%",
        )

    def test_with_a_live_thread(self, begin: Any, database: Database) -> None:
        with begin(HEARTBEAT_INTERVAL=600) as process:
            wait_for_mode(process, "push")
            pid = process.child.pid
            before = self.session_of(database, pid)
            assert len(before) == 1
            for number in range(5):
                child = json.loads(process.ask("fork"))
                assert child["mode"] == "push"
                assert child["pid"] != pid
                assert child["exit"] == 0
                assert self.session_of(database, pid) == before
                move_by_sql(database, "news", f"news-{number}")
                expected = f"/en/news-{number}/"
                wait_until(lambda: process.ask("news:story-list") == expected, 10, expected)  # noqa: B023
            assert status(process)["mode"] == "push"
            # The parent has heard, and nobody had to look for it.
            assert "found by the heartbeat" not in process.log
            assert process.log.count("Push:") == 1 + 5
            assert "Poll:" not in process.log
            process.end()
        wait_until(lambda: not database.fleet(), 10, "the end of the sessions")


class TestIdle:
    """What a listener costs a process that nobody asks anything."""

    def resident(self, process: LineProcess) -> int:
        """What of its memory is its own, in bytes."""
        rollup = Path(f"/proc/{process.child.pid}/smaps_rollup").read_text()
        private = [line.split() for line in rollup.splitlines() if line.startswith("Private_")]
        return sum(int(words[1]) * 1024 for words in private)

    def switches(self, process: LineProcess) -> dict[str, str]:
        """How often each of its threads was woken."""
        counts = {}
        for task in Path(f"/proc/{process.child.pid}/task").iterdir():
            lines = (task / "status").read_text().splitlines()
            [counts[task.name]] = [line for line in lines if line.startswith("voluntary_ctxt")]
        return counts

    @pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="Linux tells it")
    def test_one_connection_one_thread_and_no_wake_up(self, begin: Any, database: Database) -> None:
        with begin(LISTEN=False) as without:
            status(without)
            alone = self.resident(without)
            threads = len(self.switches(without))
        with begin(HEARTBEAT_INTERVAL=600) as process:
            wait_for_mode(process, "push")
            # The last look is over, and told to the server by the last heartbeat.
            wait_until(
                lambda: (
                    {served for _, served in database.fleet()} == {status(process)["served"]}
                    and not database.in_doubt()
                ),
                10,
                "the fleet",
            )
            # Nor is there a doubt that one more has to take back, a second later.
            wait_until(lambda: not database.in_doubt(), 10, "an end of all doubt")
            more = self.resident(process) - alone
            assert len(database.fleet()) == 1
            assert len(self.switches(process)) == threads + 1

            def is_asleep() -> bool:
                before = self.switches(process)
                threading.Event().wait(0.3)
                return self.switches(process) == before

            wait_until(is_asleep, 10, "its sleep")
            before = self.switches(process)
            threading.Event().wait(5)
            assert self.switches(process) == before
            process.end()
        print(f"a listener: 1 thread, 1 connection, {more / 2**20:.1f} MiB")
