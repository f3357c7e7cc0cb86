"""``make soak``: changes, faults and load for ten minutes, beside a model that knows what was
committed. It prints what was asked and what went wrong, and fails if anything did.

A site of two workers with threads, on a PostgreSQL of its own; the listeners reach it by a proxy
that can lose what passes. One thread changes URLs by SQL, some of it past the triggers, so that
only a heartbeat can find it. Another one makes trouble. The rest ask, all the time.
"""

from __future__ import annotations

import argparse
import http.client
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

from tests.demo.site import DemoSite, Worker
from tests.support.postgres import PostgresServer, create_database
from tests.support.proxy import Proxy
from tests.support.waiting import wait_until

HEARTBEAT_INTERVAL = 3.0
HEARTBEAT_TIMEOUT = 2.0
#: Seconds after a commit by which each worker must be right, whatever has happened: until the
#: lease has run out (the heartbeat, its deadline and a second), the poll, and what a machine with
#: two cores needs for all of this at once.
BOUND = HEARTBEAT_INTERVAL + HEARTBEAT_TIMEOUT + 1.0 + 1.0 + 5.0
ASKERS = 4
#: Of each worker.
THREADS = 3


@dataclass
class Model:
    """What is committed, and since when; and whether PostgreSQL is there to be asked."""

    path: str = "news"
    gone: str = "nowhere"
    since: float = 0.0
    #: Odd while a change or an outage is under way: what is answered then proves nothing.
    turn: int = 0
    is_down: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> None:
        with self.lock:
            self.turn += 1

    def commit(self, path: str) -> None:
        with self.lock:
            self.gone, self.path, self.since = self.path, path, time.monotonic()
            self.turn += 1

    def look(self) -> tuple[int, str, str, float]:
        with self.lock:
            return self.turn, self.path, self.gone, self.since


@dataclass
class Report:
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, what: str, number: int = 1) -> None:
        with self.lock:
            self.counts[what] += number


@dataclass(frozen=True)
class Size:
    """What a worker process has, as the system tells it."""

    threads: int
    descriptors: int
    mebibytes: float

    @classmethod
    def of(cls, pid: int) -> Size:
        process = Path(f"/proc/{pid}")
        rollup = (process / "smaps_rollup").read_text()
        private = [line.split() for line in rollup.splitlines() if line.startswith("Private_")]
        return cls(
            threads=len(list((process / "task").iterdir())),
            descriptors=len(list((process / "fd").iterdir())),
            mebibytes=sum(int(words[1]) for words in private) / 1024,
        )


class Soak:
    """One run. Each method that takes time ends when ``self.over`` is set."""

    def __init__(self, server: PostgresServer, proxy: Proxy, site: DemoSite, dsn: str, seed: int):
        self.server = server
        self.proxy = proxy
        self.site = site
        self.dsn = dsn
        self.page = site.content["news"]["id"]
        self.workers: list[Worker] = site.workers
        self.model = Model()
        self.report = Report()
        self.over = threading.Event()
        # Two, so that each thread repeats its own part of a run by the seed.
        self.choice = random.Random(seed)
        self.trouble = random.Random(seed + 1)
        #: Nobody stops the server in the middle of a change, whose end would not be known.
        self.server_lock = threading.Lock()

    # Changes

    def change(self) -> None:
        """Commit changes, with some rest after most of them, so that the bound can pass."""
        number = 0
        while not self.over.is_set():
            number += 1
            kind = self.choice.choice(("announced", "announced", "silent", "burst"))
            with self.server_lock:
                self.model.begin()
                count = self.choice.randint(20, 60) if kind == "burst" else 1
                paths = [f"news-{number}-{n}" for n in range(count)]
                self._commit(paths, silent=kind == "silent")
                self.model.commit(paths[-1])
            self.report.count(f"changes, {kind}", count)
            self.over.wait(self.choice.choice((0.2, 1.0, BOUND + 2.0, BOUND + 6.0)))

    def _commit(self, paths: list[str], *, silent: bool) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            if silent:
                # As a subscriber of a replication would write: no trigger fires.
                connection.execute("SET session_replication_role = replica")
            for path in paths:
                connection.execute(
                    "UPDATE cms_pageurl SET path = %s WHERE page_id = %s AND language = 'en'",
                    (path, self.page),
                )

    # Faults

    def make_trouble(self) -> None:
        faults: list[Callable[[], None]] = [
            self.terminate_a_listener,
            self.terminate_a_listener,
            self.terminate_everybody,
            self.black_hole,
            self.refuse,
            self.restart_the_server,
            self.stop_the_server,
        ]
        while not self.over.wait(self.trouble.uniform(3, 12)):
            fault = self.trouble.choice(faults)
            fault()
            self.report.count(f"faults, {fault.__name__}")

    def _terminate(self, condition: str) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
                f"datname = current_database() AND pid <> pg_backend_pid() AND {condition}"
            )

    def terminate_a_listener(self) -> None:
        pid = self.trouble.choice(self.workers).pid
        self._terminate(f"application_name LIKE 'cms-urlreload % {pid}@%'")

    def terminate_everybody(self) -> None:
        """Also what the requests use. Django finds that out by failing one of them."""
        with self.server_lock, self._outage():
            self._terminate("application_name NOT LIKE 'psql%'")
            self.over.wait(1)

    def black_hole(self) -> None:
        self.proxy.drops = True
        self.over.wait(self.trouble.uniform(1, 15))
        self.proxy.drops = False

    def refuse(self) -> None:
        self.proxy.refuses = True
        self.proxy.cut()
        self.over.wait(self.trouble.uniform(1, 10))
        self.proxy.refuses = False

    def restart_the_server(self) -> None:
        with self.server_lock, self._outage():
            self.server.restart()

    def stop_the_server(self) -> None:
        with self.server_lock, self._outage():
            self.server.stop()
            self.over.wait(self.trouble.uniform(1, 8))
            self.server.start()

    def _outage(self) -> _Outage:
        return _Outage(self)

    def wait_for_site(self) -> None:
        """Until no worker holds a connection that died: each request may find one."""

        def answers() -> bool:
            return all(self.status(worker, "/en/") == 200 for worker in self.workers * 8)

        wait_until(lambda: self.over.is_set() or answers(), 60, "the site after an outage")

    # Asking

    def ask(self, number: int) -> None:
        rng = random.Random(number)
        while not self.over.is_set():
            worker = rng.choice(self.workers)
            turn, path, gone, since = self.model.look()
            began = time.monotonic()
            url, expected = rng.choice(
                (
                    (f"/en/{path}/first-story/", 200),
                    (f"/en/{gone}/first-story/", 404),
                    ("/en/events/summer-party/", 200),
                    ("/ping/", 200),
                )
            )
            status = self.status(worker, url)
            self.report.count("requests")
            if self.model.look()[0] != turn or turn % 2:
                self.report.count("requests, in the middle of a change or an outage")
            elif status != expected:
                late = began - since
                if late < BOUND and expected in (200, 404) and status in (200, 404):
                    self.report.count("answers, not yet right within the bound")
                else:
                    self.report.wrong.append(
                        f"{url}: {status} and not {expected}, by {worker.pid}, {late:.1f} s after "
                        "the commit"
                    )

    def status(self, worker: Worker, path: str) -> int:
        try:
            return self.site.get(path, worker=worker, timeout=60).status
        except (OSError, http.client.HTTPException) as error:
            return -1 if isinstance(error, OSError) else -2

    # All of it

    def size(self) -> dict[int, Size]:
        return {worker.pid: Size.of(worker.pid) for worker in self.workers}

    def connections(self) -> int:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            row = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid()"
            ).fetchone()
        assert row is not None
        return int(row[0])

    def settle(self) -> None:
        """Until each worker is right, and listens."""

        def settled() -> bool:
            _, path, gone, _ = self.model.look()
            return all(
                self.status(worker, f"/en/{path}/first-story/") == 200
                and self.status(worker, f"/en/{gone}/first-story/") == 404
                for worker in self.workers
            ) and len(self.listeners()) == len(self.workers)

        wait_until(settled, 90, "all workers to be right, and to listen")

    def listeners(self) -> list[str]:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            rows = connection.execute(
                "SELECT application_name FROM pg_stat_activity WHERE "
                "application_name LIKE 'cms-urlreload %' AND datname = current_database()"
            ).fetchall()
        return [name for (name,) in rows]

    def run(self, seconds: float) -> None:
        threads = [
            threading.Thread(target=self._guarded, args=(work, *arguments), name=str(work))
            for work, *arguments in (
                (self.change,),
                (self.make_trouble,),
                *((self.ask, number) for number in range(ASKERS)),
            )
        ]
        for thread in threads:
            thread.start()
        self.over.wait(seconds)
        self.over.set()
        for thread in threads:
            thread.join(120)

    def _guarded(self, work: Callable[..., None], *arguments: Any) -> None:
        try:
            work(*arguments)
        except Exception as error:
            self.report.wrong.append(f"{work.__name__} ended: {type(error).__name__}: {error}")
            self.over.set()
            raise


class _Outage:
    """A stretch in which Django itself cannot answer what needs the database."""

    def __init__(self, soak: Soak) -> None:
        self._soak = soak

    def __enter__(self) -> None:
        self._soak.model.begin()

    def __exit__(self, *error: object) -> None:
        self._soak.wait_for_site()
        model = self._soak.model
        with model.lock:
            model.since = max(model.since, time.monotonic())
            model.turn += 1


def warm_up(soak: Soak) -> None:
    """Have each thread of each worker do once what it will do all the time."""
    paths = ("/en/news/first-story/", "/en/nowhere/first-story/", "/en/events/summer-party/")
    with ThreadPoolExecutor(2 * THREADS) as pool:
        for worker in soak.workers:
            for path in paths * 20:
                pool.submit(soak.status, worker, path)
    soak.settle()


def compare(before: dict[int, Size], after: dict[int, Size]) -> list[str]:
    """What has grown that must not."""
    grown = []
    for pid, old in before.items():
        new = after[pid]
        print(
            f"worker {pid}: {old.threads} threads, then {new.threads}; {old.descriptors} "
            f"descriptors, then {new.descriptors}; {old.mebibytes:.1f} MiB, then "
            f"{new.mebibytes:.1f}"
        )
        # A thread of the pool may have been idle, and a connection of Django's not be open.
        if new.threads > old.threads + 1 or new.descriptors > old.descriptors + 8:
            grown.append(f"worker {pid} has more threads or descriptors than before")
        if new.mebibytes > old.mebibytes + 25:
            grown.append(f"worker {pid} has grown by {new.mebibytes - old.mebibytes:.1f} MiB")
    return grown


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    print(f"{options.seconds:g} seconds, --seed {options.seed}", flush=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cms-urlreload-")))
        server = stack.enter_context(PostgresServer())
        dsn = create_database(server.dsn(), "site")
        parts = urlsplit(dsn)
        proxy = stack.enter_context(Proxy("127.0.0.1", server.port))
        netloc = f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{proxy.port}"
        urlreload = (
            f'{{"LISTEN_DSN": "{parts._replace(netloc=netloc).geturl()}", '
            f'"HEARTBEAT_INTERVAL": {HEARTBEAT_INTERVAL}, '
            f'"HEARTBEAT_TIMEOUT": {HEARTBEAT_TIMEOUT}}}'
        )
        site = stack.enter_context(
            DemoSite(
                dsn,
                folder,
                workers=2,
                worker_class="gthread",
                threads=THREADS,
                # As Django's documentation has it for connections that are kept.
                env={"DEMO_CMS_URLRELOAD": urlreload, "DEMO_CONN_HEALTH_CHECKS": "1"},
            )
        )
        soak = Soak(server, proxy, site, dsn, options.seed)
        warm_up(soak)
        before, connections = soak.size(), soak.connections()
        soak.run(options.seconds)
        proxy.drops = proxy.refuses = False
        soak.settle()
        after = soak.size()
        for what, count in sorted(soak.report.counts.items()):
            print(f"{what}: {count}")
        log = site.log_path.read_text()
        print(f"lost and found again: {log.count('Poll:')} and {log.count('Push:')} lines")
        print(f"reloads: {log.count('Apphook URLs reloaded')}")
        print(f"connections: {connections}, then {soak.connections()}")
        wrong = [*soak.report.wrong, *compare(before, after)]
        if soak.connections() > connections + 2:
            wrong.append("there are more connections than before")
        print(f"wrong after {BOUND:g} seconds: {len(wrong)}")
        for line in wrong[:20]:
            print(f"  {line}")
        if wrong:
            print(site.log_tail(), file=sys.stderr)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
