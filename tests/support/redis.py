"""A real Redis server under our control: Debian's binary in a temporary directory. It keeps
nothing, and answers nobody who does not know its password.
"""

from __future__ import annotations

import secrets
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import redis

from .postgres import free_port
from .processes import die_with_parent, end_process, tail
from .waiting import wait_until

if TYPE_CHECKING:
    from typing_extensions import Self

_BINARY = "redis-server"


class RedisError(RuntimeError):
    """Redis could not be started; the message has the end of its log."""


def missing() -> str:
    """Why there can be no server on this machine; empty if there can."""
    return "" if shutil.which(_BINARY) else f"no {_BINARY}: apt install redis-server"


class RedisServer:
    """One Redis server; a context manager."""

    def __init__(self, *, timeout: float = 20.0) -> None:
        self.timeout = timeout
        self.port = 0
        self._password = secrets.token_hex(12)
        self._directory = Path()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._directory = Path(tempfile.mkdtemp(prefix="cms-urlreload-redis-"))
        try:
            self._launch_on_free_port()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()

    @property
    def url(self) -> str:
        """What Celery understands, as its broker and as its result backend."""
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    def clients(self) -> int:
        """How many connections others have to it."""
        with redis.Redis.from_url(self.url) as client:
            return len(client.client_list()) - 1

    # Starting, ending

    @property
    def _log(self) -> Path:
        return self._directory / "redis.log"

    def _launch_on_free_port(self) -> None:
        for attempts_left in (3, 2, 1, 0):
            self.port = free_port()
            try:
                self._launch()
            except RedisError:
                # Another process may have taken the port since we looked.
                if attempts_left and "in use" in tail(self._log):
                    self._log.unlink()
                    continue
                raise
            return

    def _launch(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                # Its configuration comes by its input: a list of processes shows no password.
                [str(shutil.which(_BINARY)), "-"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self._directory,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGKILL),
            )
        assert self._process.stdin is not None
        with self._process.stdin as configuration:
            configuration.write(self._configuration().encode())
        try:
            wait_until(self._answers, self.timeout, "Redis to answer")
        except TimeoutError as error:
            raise RedisError(f"{error}; its log ends:\n{tail(self._log)}") from error

    def _configuration(self) -> str:
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "requirepass": self._password,
            "dir": f'"{self._directory}"',
            "save": '""',
            "appendonly": "no",
        }
        return "".join(f"{name} {value}\n" for name, value in settings.items())

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise RedisError(f"Redis ended while it started; its log ends:\n{tail(self._log)}")
        try:
            with redis.Redis.from_url(self.url) as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False

    def _close(self) -> None:
        if self._process is not None:
            end_process(self._process, signal.SIGTERM, 10)
            self._process = None
        shutil.rmtree(self._directory, ignore_errors=True)
