"""A web server that runs the demo site, all of its processes: asked, and ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

from tests.demo import client
from tests.demo.site import ROOT, DemoSite
from tests.e2e.conftest import Database
from tests.e2e.servers.catalogue import WebServer
from tests.support.postgres import free_port
from tests.support.processes import die_with_parent, end_process
from tests.support.waiting import wait_until

#: Longer than any test: within it, only what is pushed can have been heard.
NEVER = 600
#: Seconds in which all processes must have ended.
PATIENCE = 15


class Answer(NamedTuple):
    """Who answered, and what."""

    pid: int
    status: int


class RunningServer:
    """A web server with its workers; started at once.

    :raises MissingError: if this machine does not have it.
    """

    def __init__(
        self, server: WebServer, database: Database, folder: Path, env: dict[str, str]
    ) -> None:
        self.server = server
        self._database = database
        self._port = free_port()
        poll = 0.2 if server.polls else NEVER
        settings = {"HEARTBEAT_INTERVAL": NEVER, "POLL_INTERVAL": poll}
        # Not started: it knows what a process of the demo needs, and where gunicorn's workers are.
        self._site = DemoSite(
            database.dsn,
            folder,
            prepare=False,
            port=self._port,
            env={"DEMO_CMS_URLRELOAD": json.dumps(settings), **server.env, **env},
        )
        command = server.command(self._port, folder)
        with self._site.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env=dict(self._site.environment),
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGTERM),
            )

    @property
    def pid(self) -> int:
        """The process that was started, which may be no worker."""
        return self._process.pid

    @property
    def log(self) -> str:
        return self._site.log_path.read_text(errors="replace")

    def _log_end(self) -> str:
        return f"its log ends:\n{self._site.log_tail()}"

    # Asking

    def get(self, path: str, base_url: str = "") -> Answer | None:
        """Ask whoever is free; None if there was no answer."""
        try:
            answer = client.request(base_url or f"http://127.0.0.1:{self._port}", path)
        except (OSError, HTTPException):
            return None
        return Answer(answer.pid or 0, answer.status)

    def ask(self, path: str) -> dict[int, int]:
        """What each worker answers, by its pid: gunicorn's at their own addresses, others as
        chance will have it, until as many were met as there are."""
        if own := self._site.workers:
            found = [self.get(path, worker.base_url) for worker in own]
            return dict(answer for answer in found if answer)
        met: dict[int, int] = {}
        at_once = 4 * self.server.workers

        def all_met() -> bool:
            with ThreadPoolExecutor(at_once) as pool:
                met.update(answer for answer in pool.map(self.get, [path] * at_once) if answer)
            return len(met) >= self.server.workers

        wait_until(all_met, 30, lambda: f"{self.server.workers} workers, not {met}")
        return met

    # Waiting

    def wait_until_up(self) -> None:
        """Wait until all workers have answered."""

        def up() -> bool:
            assert self._process.poll() is None, f"{self.server} ended; {self._log_end()}"
            answer = self.get("/ping/")
            return answer is not None and answer.status == 200

        wait_until(up, 60, lambda: f"an answer; {self._log_end()}", interval=0.05)
        wait_until(lambda: len(self.ask("/ping/")) == self.server.workers, 60, "all workers")

    def wait_for_push(self, *others: int) -> set[int]:
        """Wait until each worker listens, and serves what is in the database; return their pids.

        :param others: processes that listen as well.
        """
        pids: set[int] = set()

        def current() -> bool:
            pids.clear()
            pids.update(self.ask("/ping/"))
            fleet = self._database.fleet()
            token = self._database.token().short
            workers = {(pid, served) for pid, served in fleet if pid not in others}
            return {pid for pid, _ in fleet} == {*pids, *others} and workers == {
                (pid, token) for pid in pids
            }

        wait_until(
            current, 30, lambda: f"{pids} to listen: {self._database.fleet()}; {self._log_end()}"
        )
        # That may have been before the notification of the last change, which causes one look.
        self.ask("/ping/")
        return pids

    def wait_for(self, path: str, status: int) -> None:
        """Wait until each worker answers so."""
        last: dict[int, int] = {}

        def all_right() -> bool:
            last.clear()
            last.update(self.ask(path))
            return len(last) >= self.server.workers and set(last.values()) == {status}

        wait_until(all_right, 15, lambda: f"{status} for {path}: {last}; {self._log_end()}")

    def renew(self) -> None:
        """Have it replace its workers."""
        assert self.server.renews_at is not None
        before = set(self.ask("/ping/"))
        os.kill(self.pid, self.server.renews_at)

        def renewed() -> bool:
            # Some servers have the new ones answer beside the old ones for a while.
            left = before & {*self.processes(), *self.ask("/ping/")}
            return not left and len(self.ask("/ping/")) == self.server.workers

        wait_until(renewed, 30, lambda: f"others than {before}; {self._log_end()}", interval=0.1)

    # Ending

    def processes(self) -> list[int]:
        """Its processes that have not ended. Linux only; elsewhere, none is seen."""
        found = []
        for file in Path("/proc").glob("[0-9]*/stat"):
            try:
                # Behind the name, which may have anything in it: state, parent, process group.
                state, _, group = file.read_text().rpartition(")")[2].split()[:3]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(group) == self.pid and state != "Z":
                found.append(int(file.parent.name))
        return found

    def end(self, signum: signal.Signals = signal.SIGTERM, *, at_terminal: bool = False) -> None:
        """Have it end, and wait until all of its processes have, by themselves.

        :param at_terminal: the signal goes to all of them, as with Ctrl-C.
        """
        started = time.monotonic()
        if at_terminal:
            os.killpg(self.pid, signum)
        else:
            os.kill(self.pid, signum)
        wait_until(
            lambda: self._process.poll() is not None and not self.processes(),
            PATIENCE,
            lambda: f"the end of {self.processes()}; {self._log_end()}",
        )
        print(f"{self.server} ended after {time.monotonic() - started:.2f} s")

    def kill(self) -> None:
        """End whatever is left of it."""
        end_process(self._process, signal.SIGKILL, 10, group=True)
