"""Each web server and how people start it: its command, and how its workers are replaced."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.demo.site import ROOT
from tests.e2e.servers.compiled import MissingError, compiled

WSGI, ASGI = "tests.demo.wsgi:application", "tests.demo.asgi:application"
Command = Callable[[int, Path], list[str]]


@dataclass(frozen=True)
class WebServer:
    """A web server in one configuration."""

    #: What docs/servers.md calls it.
    title: str
    #: Returns how it is started, given a port and a folder for its files.
    command: Command
    workers: int = 2
    env: Mapping[str, str] = field(default_factory=dict)
    #: Polls, and says so.
    polls: bool = False
    #: At what it replaces its workers, if at anything.
    renews_at: signal.Signals | None = None

    def __str__(self) -> str:
        words = "".join(c if c.isalnum() or c in ".-_" else " " for c in self.title.lower())
        return "-".join(word.strip("-") for word in words.split())


def _module(name: str, *arguments: str) -> list[str]:
    if importlib.util.find_spec(name.partition(".")[0]) is None:
        raise MissingError(f'there is no {name}: pip install --editable ".[servers]"')
    return [sys.executable, "-m", name, *arguments]


# --- gunicorn ------------------------------------------------------------------------------------

#: The worker classes, as people call them, and what gunicorn is told.
GUNICORN = {
    "sync": ("sync", WSGI),
    "gthread": ("gthread", WSGI),
    "gevent": ("gevent", WSGI),
    "asgi": ("asgi", ASGI),
    "uvicorn worker": ("uvicorn_worker.UvicornWorker", ASGI),
}


def gunicorn(worker_class: str, options: str = "", *, preload: bool = False) -> WebServer:
    """gunicorn with the configuration of the demo: each worker has an address of its own, too."""
    name, app = GUNICORN[worker_class]

    def command(port: int, folder: Path) -> list[str]:
        if name == "asgi" and importlib.util.find_spec("gunicorn.workers.gasgi") is None:
            raise MissingError("this gunicorn has no worker class asgi: 24 and newer have")
        if name not in ("sync", "gthread", "asgi"):
            _module(name)  # is it there?
        conf = ("gunicorn", "-c", "python:tests.demo.gunicorn_conf")
        if preload and name == "gevent":
            # gunicorn would patch in the workers, when Django is loaded already: each request
            # would fail, with or without us ("can only be used in that same thread").
            return _module("gevent.monkey", "--module", *conf)
        return _module(*conf)

    env = {
        "DEMO_WORKERS": "2",
        "DEMO_WORKER_CLASS": name,
        "DEMO_WSGI_APP": app,
        "DEMO_THREADS": "4" if name == "gthread" else "1",
        "DEMO_PRELOAD": "1" if preload else "",
        "GUNICORN_CMD_ARGS": options,
    }
    flags = ["--preload"] * preload + [options] * bool(options)
    title = ", ".join([f"gunicorn, {worker_class}", *(f"`{flag}`" for flag in flags)])
    return WebServer(title, command, env=env, renews_at=signal.SIGHUP)


GUNICORNS = [gunicorn(name, preload=preload) for name in GUNICORN for preload in (False, True)]


# --- servers from wheels -------------------------------------------------------------------------


def _uvicorn(port: int, folder: Path) -> list[str]:
    options = ("--port", str(port), "--workers", "2", "--lifespan", "off", "--no-access-log")
    return _module("uvicorn", ASGI, *options)


def _granian(interface: str, app: str) -> Command:
    def command(port: int, folder: Path) -> list[str]:
        options = ("--interface", interface, "--port", str(port), "--workers", "2")
        # How long it waits between two workers that it replaces: else 3.5 seconds.
        return _module("granian", *options, "--respawn-interval", "0.1", app)

    return command


def _daphne(port: int, folder: Path) -> list[str]:
    return _module("daphne", "--port", str(port), ASGI)


def _hypercorn(port: int, folder: Path) -> list[str]:
    return _module("hypercorn", "--bind", f"127.0.0.1:{port}", "--workers", "2", ASGI)


def _waitress(port: int, folder: Path) -> list[str]:
    return _module("waitress", f"--listen=127.0.0.1:{port}", WSGI)


def _runserver(port: int, folder: Path) -> list[str]:
    return [sys.executable, "-m", "tests.demo.manage", "runserver", str(port)]


UVICORN = WebServer("uvicorn, `--workers 2`", _uvicorn, renews_at=signal.SIGHUP)
GRANIAN_WSGI = WebServer("granian, WSGI", _granian("wsgi", WSGI), renews_at=signal.SIGHUP)
# Django knows nothing of ASGI's lifespan, so its interface is the one that has none.
GRANIAN_ASGI = WebServer("granian, ASGI", _granian("asginl", ASGI), renews_at=signal.SIGHUP)
DAPHNE = WebServer("daphne", _daphne, workers=1)
HYPERCORN = WebServer("hypercorn", _hypercorn)
WAITRESS = WebServer("waitress", _waitress, workers=1)
RUNSERVER = WebServer("runserver", _runserver, workers=1, env={"DEMO_DEBUG": "1"})


# --- uWSGI ---------------------------------------------------------------------------------------

#: From 2.0.27 on, threads are enabled and cannot be switched off.
UWSGI, OLD_UWSGI = "uwsgi==2.0.31", "uwsgi==2.0.26"


def uwsgi(*options: str, old: bool = False, app: str = WSGI) -> WebServer:
    """uWSGI with a master and two processes."""

    def command(port: int, folder: Path) -> list[str]:
        return [
            str(compiled(OLD_UWSGI if old else UWSGI) / "bin" / "uwsgi"),
            *("--http-socket", f"127.0.0.1:{port}", "--virtualenv", sys.prefix),
            *("--module", app, "--need-app", "--master", "--processes", "2"),
            *("--disable-logging", "--die-on-term", *options),
        ]

    name = "uWSGI before 2.0.27" if old else "uWSGI 2.0.27 and newer"
    title = ", ".join([name, *(f"`{option}`" for option in options)])
    polls = old and "--enable-threads" not in options
    return WebServer(title, command, polls=polls, renews_at=None if old else signal.SIGHUP)


UWSGIS = [
    uwsgi(),
    uwsgi("--lazy-apps"),
    uwsgi("--py-call-uwsgi-fork-hooks"),
    uwsgi(old=True),
    uwsgi("--lazy-apps", old=True),
    uwsgi("--enable-threads", old=True),
    uwsgi("--enable-threads", "--lazy-apps", old=True),
]


# --- mod_wsgi ------------------------------------------------------------------------------------


def _mod_wsgi(*options: str) -> Command:
    """Apache in the foreground, with a configuration that mod_wsgi-express writes."""

    def command(port: int, folder: Path) -> list[str]:
        package = compiled("mod_wsgi==6.1.1")
        setup = [
            *(sys.executable, str(package / "bin" / "mod_wsgi-express"), "setup-server"),
            *("--application-type", "module", WSGI.partition(":")[0]),
            *("--host", "127.0.0.1", "--port", str(port), "--server-root", str(folder)),
            *("--working-directory", str(ROOT), "--python-path", str(ROOT)),
            *("--log-to-terminal", *options),
        ]
        as_nobody = _unprivileged()
        answer = subprocess.run(
            [*as_nobody, *setup],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(package)},
            check=False,
        )
        if answer.returncode:
            raise MissingError(f"mod_wsgi-express failed:\n{answer.stdout}{answer.stderr}")
        # Its module and its package have one name: the module looks for the other on the path.
        path = os.pathsep.join([str(ROOT), str(package)])
        apache = [str(folder / "apachectl"), "start", "-DFOREGROUND"]
        return [*as_nobody, "env", f"PYTHONPATH={path}", *apache]

    return command


def _unprivileged() -> list[str]:
    """Apache's workers refuse to run as root; and the interpreter may be where root alone can
    read it. In a user namespace they are root, and do not know."""
    if os.geteuid() != 0:
        return []
    command = ["unshare", "--map-user=1000", "--map-group=1000"]
    try:
        probe = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise MissingError("as root, Apache needs unshare (Debian: util-linux)") from error
    if probe.returncode:
        raise MissingError(f"as root, Apache needs a user namespace: {probe.stderr.strip()}")
    return command


MOD_WSGI_DAEMON = WebServer(
    "mod_wsgi, daemon mode", _mod_wsgi("--processes", "2"), renews_at=signal.SIGUSR1
)
MOD_WSGI_EMBEDDED = WebServer(
    "mod_wsgi, embedded mode", _mod_wsgi("--embedded-mode"), workers=1, renews_at=signal.SIGUSR1
)

ALL = [
    *GUNICORNS,
    UVICORN,
    GRANIAN_WSGI,
    GRANIAN_ASGI,
    DAPHNE,
    HYPERCORN,
    WAITRESS,
    RUNSERVER,
    *UWSGIS,
    MOD_WSGI_DAEMON,
    MOD_WSGI_EMBEDDED,
]
