"""A real MariaDB server under our control: Debian's binaries in a temporary directory, as an
unprivileged user. Refuses to touch anything outside of that directory.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import pymysql

from .postgres import Account
from .processes import die_with_parent, end_process, tail
from .waiting import wait_until

if TYPE_CHECKING:
    from typing_extensions import Self

_SEARCH = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"


class MariaDBError(RuntimeError):
    """MariaDB could not be started; the message has the end of its log."""


def missing() -> str:
    """Why there can be no server on this machine; empty if there can."""
    wanted = ("mariadbd", "mariadb-install-db", "my_print_defaults")
    lacking = [name for name in wanted if _binary(name) is None]
    return f"no {', '.join(lacking)}: apt install mariadb-server" if lacking else ""


def _binary(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path=_SEARCH)


class MariaDBServer:
    """One MariaDB server with its own data directory; a context manager."""

    def __init__(self, *, timeout: float = 60.0) -> None:
        self.timeout = timeout
        self.port = 0
        self._password = secrets.token_hex(12)
        self._account = Account.choose()
        self._directory = Path()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        parent = self._account.temporary_parent()
        self._directory = Path(tempfile.mkdtemp(prefix="cms-urlreload-mariadb-", dir=parent))
        self._account.own(self._directory)
        try:
            self._create()
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

    def url(self, dbname: str) -> str:
        """What the demo's settings understand: ``mysql://user:password@host:port/dbname``."""
        return f"mysql://demo:{self._password}@127.0.0.1:{self.port}/{dbname}"

    def connect(self, dbname: str | None = None) -> pymysql.Connection[pymysql.cursors.Cursor]:
        """A connection in autocommit mode."""
        return pymysql.connect(
            host="127.0.0.1",
            port=self.port,
            user="demo",
            password=self._password,
            database=dbname,
            autocommit=True,
            connect_timeout=5,
        )

    def create_database(self, dbname: str) -> str:
        """Create a database; return its URL."""
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE `{dbname}` CHARACTER SET utf8mb4")
        return self.url(dbname)

    # Creating, starting, ending

    @property
    def _log(self) -> Path:
        return self._directory / "mariadb.log"

    def _create(self) -> None:
        init = self._directory / "init.sql"
        init.write_text(
            f"CREATE USER demo@'%' IDENTIFIED BY '{self._password}';\n"
            "GRANT ALL ON *.* TO demo@'%';\n"
        )
        self._account.own(init)
        command = [
            str(_binary("mariadb-install-db")),
            *("--no-defaults", f"--datadir={self._directory / 'data'}", "--skip-test-db"),
            "--auth-root-authentication-method=normal",
        ]
        answer = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=self.timeout,
            cwd=self._directory,
            check=False,
            **self._account.popen_arguments(),
        )
        if answer.returncode:
            raise MariaDBError(f"mariadb-install-db failed:\n{answer.stdout}{answer.stderr}")

    def _launch(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        command = [
            str(_binary("mariadbd")),
            *("--no-defaults", f"--datadir={self._directory / 'data'}"),
            *("--bind-address=127.0.0.1", f"--port={self.port}", "--skip-name-resolve"),
            *(f"--socket={self._directory / 'socket'}", f"--pid-file={self._directory / 'pid'}"),
            *("--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0", "--skip-log-bin"),
            f"--init-file={self._directory / 'init.sql'}",
        ]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._directory,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGKILL),
                **self._account.popen_arguments(),
            )
        try:
            wait_until(self._answers, self.timeout, "MariaDB to answer")
        except TimeoutError as error:
            raise MariaDBError(f"{error}; its log ends:\n{tail(self._log)}") from error

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise MariaDBError(f"MariaDB ended while it started; its log ends:\n{tail(self._log)}")
        try:
            self.connect().close()
        except pymysql.err.OperationalError:
            return False
        return True

    def _close(self) -> None:
        if self._process is not None:
            end_process(self._process, signal.SIGTERM, 10)
            self._process = None
        shutil.rmtree(self._directory, ignore_errors=True)
