"""Where it is measured: one PostgreSQL for the run, and the demo site of each rival on it, all up
at the same time. Everything goes away at the end of the process.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import secrets
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from tests.demo.site import DemoSite
from tests.support.postgres import (
    create_database,
    drop_database,
    provide_server,
    replace_dbname,
)
from tests.support.waiting import wait_until

#: For 100 listeners, and for the workers beside them.
MAX_CONNECTIONS = 300
#: Of the worker processes that listen.
_FLEET = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
    "AND application_name LIKE 'cms-urlreload %'"
)


@dataclass(frozen=True)
class Rival:
    """One way to reload URLs."""

    name: str
    env: Mapping[str, str] = field(default_factory=dict)
    #: Whether its workers listen, and are measured from then on.
    listens: bool = False


def _polls(interval: float) -> dict[str, str]:
    settings = {"LISTEN": False, "POLL_INTERVAL": interval}
    return {"DEMO_RELOAD": "ours", "DEMO_CMS_URLRELOAD": json.dumps(settings)}


NONE = Rival("none", {"DEMO_RELOAD": "none"})
CORE = Rival("core", {"DEMO_RELOAD": "core"})
ALDRYN = Rival("aldryn", {"DEMO_RELOAD": "none", "BENCH_ALDRYN": "1"})
PUSH = Rival("push", {"DEMO_RELOAD": "ours"}, listens=True)
POLL_1S = Rival("poll 1 s", _polls(1))
POLL_0 = Rival("poll 0", _polls(0))
RIVALS = (NONE, CORE, ALDRYN, PUSH, POLL_1S, POLL_0)


class Stand:
    """A server, and a database with the demo's content that others are copies of."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self.folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="cms-urlreload-bench-"))
        )
        self.server = stack.enter_context(provide_server(max_connections=MAX_CONNECTIONS))
        self._templates: dict[int, str] = {}
        with self._new_database(0) as dsn:
            site = DemoSite(dsn, self._new_folder(), prepare=False, env=_env({"BENCH_ALDRYN": "1"}))
            self.content = json.loads(site.manage("demo_content", "--migrate"))

    def _new_folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.folder))

    @contextlib.contextmanager
    def database(self, pages: int = 0) -> Iterator[str]:
        """A copy of the content, with so many more apphook pages; its address."""
        if pages not in self._templates:
            with self._new_database(pages) as dsn:
                site = DemoSite(dsn, self._new_folder(), prepare=False, env=_env({}))
                site.manage("bench_pages", str(pages))
        name = _name()
        dsn = self._copy(self._templates[pages], name)
        try:
            yield dsn
        finally:
            drop_database(self.server.dsn(), name)

    @contextlib.contextmanager
    def _new_database(self, pages: int) -> Iterator[str]:
        """A template that is there until the end, once it has its content."""
        name = _name()
        if self._templates:
            yield self._copy(self._templates[0], name)
        else:
            yield create_database(self.server.dsn(), name)
        self._stack.callback(drop_database, self.server.dsn(), name)
        self._templates[pages] = name

    def _copy(self, template: str, name: str) -> str:
        statement = f'CREATE DATABASE "{name}" TEMPLATE "{template}"'
        with psycopg.connect(self.server.dsn(), autocommit=True) as connection:
            connection.execute(statement.encode())
        return replace_dbname(self.server.dsn(), name)

    @contextlib.contextmanager
    def site(self, rival: Rival, dsn: str, **options: Any) -> Iterator[DemoSite]:
        """The demo site of a rival, which has answered a request in each worker."""
        env = _env({**rival.env, **options.pop("env", {})})
        with DemoSite(
            dsn, self._new_folder(), workers=options.pop("workers", 1), prepare=False, env=env,
            **options,
        ) as site:  # fmt: skip
            site.content = self.content
            if rival.listens:
                wait_until(lambda: self._is_listening(site, dsn), 30, "all workers to listen")
            _ping(site)
            yield site

    @contextlib.contextmanager
    def sites(
        self, rivals: Sequence[Rival], dsn: str, **options: Any
    ) -> Iterator[dict[str, DemoSite]]:
        """One site for each of the rivals, on one database: for what only reads."""
        with contextlib.ExitStack() as stack:
            yield {
                rival.name: stack.enter_context(self.site(rival, dsn, **options))
                for rival in rivals
            }

    def _is_listening(self, site: DemoSite, dsn: str) -> bool:
        _ping(site)
        with psycopg.connect(dsn, autocommit=True) as connection:
            row = connection.execute(_FLEET).fetchone()
        return row is not None and row[0] >= len(site.workers)


def _name() -> str:
    return f"bench_{secrets.token_hex(4)}"


def environment(dsn: str, more: Mapping[str, str]) -> dict[str, str]:
    """Return what a process of the site is started with that is no server."""
    return {"DEMO_DATABASE_URL": dsn, **_env(more)}


def _env(more: Mapping[str, str]) -> dict[str, str]:
    settings = {
        "DJANGO_SETTINGS_MODULE": "tests.bench.settings",
        "DEMO_EXTRA_APPS": "tests.bench.pages",
        "DEMO_LOG_LEVEL": "WARNING",
    }
    return {**settings, **more}


def _ping(site: DemoSite) -> None:
    for worker in site.workers:
        site.get("/ping/", worker)


@functools.cache
def get_stand() -> Stand:
    """Return the one of this process; the first call takes some seconds."""
    with contextlib.ExitStack() as stack:
        stand = Stand(stack)
        # Only now: what is registered last runs first, and the server ends itself in the same way.
        atexit.register(stack.pop_all().close)
    return stand
