"""A page goes from a to b and back to a within milliseconds, under load, as it comes: without
anything that is held. Once that is over, each worker serves a, and goes on to.

400 times; with CMS_URLRELOAD_TEST_FULL=1, 2,000 times.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from tests.demo.site import Worker
from tests.e2e.conftest import ROUTES, ROUTES_SETTING, Database, Fleet
from tests.e2e.test_snapshot import let_heartbeats_pass
from tests.support.lengths import length

TRIES = length(400, 2000)
#: Seconds until b after the first a, and until the second a after b; at random, up to this.
UNTIL_B, UNTIL_A = 0.020, 0.004
#: Seconds between two tries.
REST = 0.020
#: Seconds in which each worker must serve a. Less than the interval of the heartbeats.
BOUND = 3.0
HEARTBEAT_INTERVAL = 4.0
#: Answers of each worker, one after the other, that must be a.
IN_A_ROW = 3
#: Enough to be told.
MOST_WRONG = 10
CLIENTS = 4


class Tries:
    def __init__(self, fleet: Fleet, seed: int) -> None:
        self._fleet = fleet
        self._workers = fleet.workers
        self._random = random.Random(seed)
        self._pause = threading.Event()
        self._stop = threading.Event()
        self._page = fleet.database.pages["news"]["id"]
        #: What must be served now; None while a try is under way.
        self._settled: str | None = None
        self.answers: Counter[str] = Counter()
        self.wrong: list[str] = []

    def run(self) -> None:
        with (
            psycopg.connect(self._fleet.database.dsn, autocommit=True) as connection,
            self._load(),
        ):
            for number in range(TRIES):
                self._try(connection, number)
                if len(self.wrong) >= MOST_WRONG:
                    return

    def _try(self, connection: psycopg.Connection[Any], number: int) -> None:
        a, b = f"a-{number}", f"b-{number}"
        self._settled = None
        self._commit(connection, a)
        self._pause.wait(self._random.uniform(0, UNTIL_B))
        self._commit(connection, b)
        self._pause.wait(self._random.uniform(0, UNTIL_A))
        self._commit(connection, a)
        until = time.monotonic() + BOUND
        settled = [self._settles(worker, a, until) for worker in self._workers]
        if all(settled):
            self._settled = a
        self._pause.wait(self._random.uniform(0, REST))

    def _commit(self, connection: psycopg.Connection[Any], path: str) -> None:
        connection.execute(
            "UPDATE cms_pageurl SET path = %s WHERE page_id = %s AND language = 'en'",
            (path, self._page),
        )

    def _settles(self, worker: Worker, path: str, until: float) -> bool:
        in_a_row, served = 0, ""
        while in_a_row < IN_A_ROW:
            served = self.path(worker)
            in_a_row = in_a_row + 1 if served == path else 0
            if in_a_row == 0 and time.monotonic() > until:
                self.wrong.append(f"{served} for {path}, of {worker.pid}, after {BOUND:g} s")
                return False
        return True

    def path(self, worker: Worker | None = None) -> str:
        """Where the news are served, by a worker or any."""
        url = str(self._fleet.served("news:story-list", worker)["en"][0])
        return url.removeprefix("/en/").strip("/")

    @contextmanager
    def _load(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._ask, name="client") for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(60)

    def _ask(self) -> None:
        """Ask all the time; while nothing is under way, only one answer is right."""
        while not self._stop.is_set():
            settled = self._settled
            served = self.path()
            self.answers["all"] += 1
            if settled is not None and settled == self._settled:
                self.answers["between two tries"] += 1
                if served != settled:
                    self.wrong.append(f"{served} for {settled}, after that had been served")


def test_natural_changes__leave_no_stale_urls(
    routes_database: Database, start_on: Callable[..., Fleet]
) -> None:
    fleet = start_on(
        routes_database,
        workers=2,
        worker_class="gthread",
        threads=4,
        urlreload={**ROUTES_SETTING, "HEARTBEAT_INTERVAL": HEARTBEAT_INTERVAL},
        env=ROUTES,
    )
    fleet.ping()
    fleet.wait_for("/en/news/first-story/")
    seed = random.getrandbits(32)
    tries = Tries(fleet, seed)
    began = time.monotonic()
    tries.run()
    took = time.monotonic() - began
    print(f"seed {seed}: {TRIES} tries in {took:.0f} s; {dict(tries.answers)}; {tries.wrong}")
    let_heartbeats_pass(fleet)
    afterwards = {tries.path(worker) for worker in fleet.workers for _ in range(IN_A_ROW)}
    assert tries.wrong == []
    assert afterwards == {f"a-{TRIES - 1}"}
