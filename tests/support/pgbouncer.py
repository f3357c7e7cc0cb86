"""A real PgBouncer in front of a PostgreSQL server: Debian's binary in a temporary directory, as
an unprivileged user. Refuses to touch anything outside of that directory.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote, urlsplit

import psycopg
from psycopg.rows import dict_row

from .postgres import Account, free_port, replace_dbname
from .processes import die_with_parent, end_process, tail
from .waiting import wait_until

if TYPE_CHECKING:
    from typing_extensions import Self

_SEARCH = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"


class PgBouncerError(RuntimeError):
    """PgBouncer could not be started; the message has the end of its log."""


def missing() -> str:
    """Why there can be no PgBouncer on this machine; empty if there can."""
    return "" if _binary() else "no pgbouncer: apt install pgbouncer"


def _binary() -> str | None:
    return shutil.which("pgbouncer") or shutil.which("pgbouncer", path=_SEARCH)


class PgBouncer:
    """One PgBouncer for all databases of a server; a context manager.

    :param server_dsn: a URL, with the user and the password that clients have too.
    :param mode: its pool_mode.
    """

    def __init__(
        self, server_dsn: str, mode: Literal["transaction", "session"], *, timeout: float = 30.0
    ) -> None:
        self.mode = mode
        self.timeout = timeout
        self.port = 0
        self._server = urlsplit(server_dsn)
        self._account = Account.choose()
        self._directory = Path()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        parent = self._account.temporary_parent()
        self._directory = Path(tempfile.mkdtemp(prefix="cms-urlreload-pgbouncer-", dir=parent))
        self._account.own(self._directory)
        try:
            self.port = free_port()
            self._configure()
            self._launch()
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

    def through(self, dsn: str) -> str:
        """Return the address of the same database, through this pooler."""
        parts = urlsplit(dsn)
        user = parts.netloc.rpartition("@")[0]
        return parts._replace(netloc=f"{user}@127.0.0.1:{self.port}").geturl()

    def show(self, what: str) -> list[dict[str, Any]]:
        """Ask its console: ``SHOW SERVERS``, and so on."""
        console = replace_dbname(self.through(self._server.geturl()), "pgbouncer")
        with psycopg.connect(console, autocommit=True, row_factory=dict_row) as connection:
            return connection.execute(f"SHOW {what}".encode()).fetchall()

    # Starting, ending

    @property
    def _log(self) -> Path:
        return self._directory / "pgbouncer.log"

    @property
    def _config(self) -> Path:
        return self._directory / "pgbouncer.ini"

    def _configure(self) -> None:
        user, password = (unquote(x or "") for x in (self._server.username, self._server.password))
        userlist = self._directory / "userlist.txt"
        userlist.write_text(f"{_quoted(user)} {_quoted(password)}\n")
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": userlist,
            "admin_users": user,
            "pool_mode": self.mode,
            "max_client_conn": 100,
            "default_pool_size": 20,
            "logfile": self._log,
            "pidfile": self._directory / "pid",
        }
        lines = [
            "[databases]",
            f"* = host={self._server.hostname} port={self._server.port or 5432}",
            "[pgbouncer]",
            *(f"{name} = {value}" for name, value in settings.items()),
        ]
        self._config.write_text("\n".join(lines) + "\n")
        for file in (userlist, self._config):
            file.chmod(0o600)
            self._account.own(file)

    def _launch(self) -> None:
        self._process = subprocess.Popen(
            [str(_binary()), "--quiet", str(self._config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._directory,
            start_new_session=True,
            preexec_fn=die_with_parent(signal.SIGKILL),
            **self._account.popen_arguments(),
        )
        try:
            wait_until(self._answers, self.timeout, "PgBouncer to answer")
        except TimeoutError as error:
            raise PgBouncerError(f"{error}; its log ends:\n{tail(self._log)}") from error

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise PgBouncerError(f"PgBouncer ended; its log ends:\n{tail(self._log)}")
        try:
            self.show("VERSION")
        except psycopg.OperationalError:
            return False
        return True

    def _close(self) -> None:
        if self._process is not None:
            end_process(self._process, signal.SIGTERM, 10)
            self._process = None
        shutil.rmtree(self._directory, ignore_errors=True)


def _quoted(text: str) -> str:
    return '"{}"'.format(text.replace('"', '""'))
