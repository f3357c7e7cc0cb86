"""The demo site in real server processes; the driver and the end-to-end tests use it.

``DemoSite`` starts gunicorn (or uvicorn) on a database that it is given, and ends all of it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tests.demo import client
from tests.support.postgres import free_port
from tests.support.processes import die_with_parent, end_process, tail
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

ROOT = Path(__file__).resolve().parents[2]


class SiteError(RuntimeError):
    """The site could not be prepared or started; the message has the end of its log."""


class Worker(NamedTuple):
    """One worker process and the address that only it serves."""

    pid: int
    base_url: str


class DemoSite:
    """The demo site on ``database_url``; a context manager that prepares, starts and stops it.

    ``run_dir`` must exist; log and worker files are written there. ``prepare`` runs migrations
    and creates the content (``content`` then has the ids of the pages), ``apphooks`` says
    whether the new pages get theirs. ``env`` wins over everything else.
    """

    def __init__(
        self,
        database_url: str,
        run_dir: Path | str,
        *,
        workers: int = 4,
        worker_class: str = "sync",
        threads: int = 1,
        preload: bool = False,
        server: Literal["gunicorn", "uvicorn"] = "gunicorn",
        host: str = "127.0.0.1",
        port: int = 0,
        prepare: bool = True,
        apphooks: bool = True,
        env: Mapping[str, str] | None = None,
        timeout: float = 60.0,
    ) -> None:
        self.run_dir = Path(run_dir)
        self.log_path = self.run_dir / "site.log"
        self.content: dict[str, Any] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self.timeout = timeout
        self._count = workers
        self._server = server
        self._host, self._port = host, port
        self._prepare, self._apphooks = prepare, apphooks
        self._address = ""
        self._env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
            "PYTHONUNBUFFERED": "1",
            "DJANGO_SETTINGS_MODULE": "tests.demo.settings",
            "DEMO_DATABASE_URL": database_url,
            "DEMO_RUN_DIR": str(self.run_dir),
            "DEMO_BIND": f"{host}:{port}",
            "DEMO_WORKERS": str(workers),
            "DEMO_WORKER_CLASS": worker_class,
            "DEMO_THREADS": str(threads),
            "DEMO_PRELOAD": "1" if preload else "",
            **(env or {}),
        }

    def __enter__(self) -> Self:
        try:
            if self._prepare:
                self.prepare()
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    # Preparing and commands

    def prepare(self) -> None:
        """Migrate and create the content; both do nothing where it is done."""
        options = () if self._apphooks else ("--no-apphooks",)
        self.content = json.loads(self.manage("demo_content", "--migrate", *options))

    def manage(self, *arguments: str, timeout: float | None = None) -> str:
        """Run a Django command of the site in its own process; return what it printed."""
        command = [sys.executable, "-m", "tests.demo.manage", *arguments]
        answer = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=timeout or 2 * self.timeout,
            cwd=ROOT,
            env=self._env,
            check=False,
        )
        if answer.returncode:
            end = "\n".join(answer.stderr.splitlines()[-25:])
            raise SiteError(f"'manage {arguments[0]}' failed; it ended with:\n{end}")
        return answer.stdout

    @property
    def environment(self) -> Mapping[str, str]:
        """What its processes are started with; for more processes of the same site."""
        return self._env

    # Starting and stopping

    def start(self) -> None:
        """Start the server and wait until all of its workers have loaded the application."""
        for file in self.run_dir.glob("*.json"):
            file.unlink()
        if self._server == "gunicorn":
            self._launch("gunicorn", "-c", "python:tests.demo.gunicorn_conf")
            self._wait(lambda: len(self.workers) >= self._count, f"{self._count} workers")
            shared = json.loads((self.run_dir / "server.json").read_text())
            self._address = f"http://{self._visible_host()}:{shared['port']}"
        else:
            self._start_uvicorn()

    def stop(self, timeout: float = 10.0) -> bool:
        """End the server and all of its workers. Whether they ended by themselves in time."""
        if self.process is None:
            return True
        process, self.process = self.process, None
        return end_process(process, signal.SIGTERM, timeout, group=True)

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def log_tail(self, lines: int = 60) -> str:
        return tail(self.log_path, lines)

    def _launch(self, module: str, *arguments: str) -> None:
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env=self._env,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGTERM),
            )

    def _start_uvicorn(self) -> None:
        port = self._port or free_port()
        place = ("--host", self._host, "--port", str(port), "--workers", str(self._count))
        quiet = ("--no-access-log", "--lifespan", "off")
        self._launch("uvicorn", "tests.demo.asgi:application", *place, *quiet)
        self._address = f"http://{self._visible_host()}:{port}"
        self._wait(lambda: _accepts(port), "uvicorn to accept connections")

    def _wait(self, condition: Any, what: str) -> None:
        def ready() -> bool:
            if not self.is_running:
                raise SiteError(f"{self._server} ended; its log ends:\n{self.log_tail()}")
            return bool(condition())

        try:
            wait_until(ready, self.timeout, what)
        except TimeoutError as error:
            raise SiteError(f"{error}; the log ends:\n{self.log_tail()}") from error

    def _visible_host(self) -> str:
        return "127.0.0.1" if self._host in ("", "0.0.0.0") else self._host

    # Asking

    @property
    def address(self) -> str:
        """The shared address: whichever worker is free answers."""
        return self._address

    @property
    def workers(self) -> list[Worker]:
        """The live workers. With uvicorn only a single one has an address of its own."""
        if self._server == "uvicorn":
            alone = self._count == 1 and self.process is not None
            return [Worker(self.process.pid, self._address)] if alone and self.process else []
        found = []
        for file in sorted(self.run_dir.glob("worker-*.json")):
            try:
                data = json.loads(file.read_text())
            except FileNotFoundError:  # it ended just now
                continue
            found.append(Worker(data["pid"], f"http://127.0.0.1:{data['port']}"))
        return found

    def get(
        self, path: str, worker: Worker | None = None, *, timeout: float = 30.0, **headers: str
    ) -> client.Response:
        """One GET on a fresh connection, without redirects; to ``worker`` or the shared address."""
        base_url = worker.base_url if worker else self.address
        return client.request(base_url, path, timeout=timeout, headers=headers)

    def kill_worker(self, worker: Worker, signum: signal.Signals = signal.SIGKILL) -> None:
        """End one worker; gunicorn starts another, with another pid and address."""
        os.kill(worker.pid, signum)


def _accepts(port: int) -> bool:
    """Whether somebody listens; a connection and no request, so nothing is warmed up."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
