"""One site on which all ways are gone, one after the other, and the answer to whether its workers
followed. Needs Django to be set up.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import unquote, urlsplit

import psycopg
import pymysql

from tests.demo.editor import Editor
from tests.demo.site import DemoSite
from tests.e2e.conftest import CONTROLS, Database, Fleet
from tests.e2e.console import Console
from tests.e2e.ways import POSTGRESQL, Way
from tests.support.waiting import wait_until

Reload = Literal["ours", "core"]
Verdict = Literal["yes", "late", "no"]

POLL_INTERVAL = 0.5
#: No heartbeat finds a change while the ways are gone: what is not pushed is not found.
PUSH_ONLY = {"HEARTBEAT_INTERVAL": 600.0, "POLL_INTERVAL": POLL_INTERVAL}

_CREATE = """
result = {}
with transaction.atomic():
    Site.objects.get_or_create(pk=2, defaults={"domain": "other.example", "name": "Other"})
    for w, pages in ways.items():
        made = result[w] = {}
        for new in pages:
            new = {k: v.format(w=w) if isinstance(v, str) else v for k, v in new.items()}
            slugs = {code: new["slug"] + ("-de" if code == "de" else "") for code in ("en", "de")}
            first, *others = new["languages"]
            page = create_page(
                "Word", "demo/page.html", first, slug=slugs[first],
                parent=Page.objects.get(pk=made[new["parent"]]) if new["parent"] else None,
                apphook=new["apphook"], apphook_namespace=new["apphook"] and f"{w}-{new['key']}",
                overwrite_url=new["overwrite_url"], site=Site.objects.get(pk=new["site"]),
            )
            for language in others:
                create_page_content(language, "Wort", page, slug=slugs[language])
            if new["broken_path"]:
                PageUrl.objects.filter(page=page).update(path=new["broken_path"])
            made[new["key"]] = page.pk
"""
# What django CMS has parked until the end of a request comes now.
_FINISH_A_REQUEST = """
from django.test import Client
assert Client(SERVER_NAME="127.0.0.1").get("/ping/").status_code == 200
"""


class StageError(AssertionError):
    """A way found the site in another state than it must, and would prove nothing."""


class Answer(NamedTuple):
    """What a worker must answer."""

    path: str
    status: int
    text: str = ""


@dataclass(frozen=True)
class Outcome:
    """``yes``: all workers were right in time. ``late``: only after the writer's process had
    finished one more request. ``wrong`` are the answers that were not right in time."""

    verdict: Verdict
    wrong: tuple[str, ...] = ()


class Scene:
    """What one way works with: its pages, an editor, a shell, commands and SQL."""

    def __init__(self, stage: Stage, way: Way, ids: Mapping[str, int]) -> None:
        self.stage = stage
        self.way: Way = way
        #: Who wrote last: a worker, the shell, or somebody who is gone.
        self.writer: Literal["worker", "shell", "gone"] = "gone"
        self._ids = ids

    @property
    def names(self) -> dict[str, Any]:
        return {"w": self.way.id, **self._ids}

    @property
    def run_dir(self) -> Path:
        return self.stage.site.run_dir

    @property
    def editor(self) -> Editor:
        self.writer = "worker"
        return self.stage.editor

    def page(self, key: str) -> int:
        return self._ids[key]

    def fill(self, text: str) -> str:
        return text.format(**self.names)

    def shell(self, code: str) -> Any:
        self.writer = "shell"
        return self.stage.console.run(code, **self.names)

    def manage(self, *arguments: str) -> None:
        self.writer = "gone"
        self.stage.site.manage(*arguments)

    def sql(self, statement: str) -> None:
        self.writer = "gone"
        execute(self.stage.database_url, self.fill(statement))

    def restore(self, table: str, column: str, before: str, after: str) -> None:
        """Replace all rows of a table, by those that it had, with one value changed."""
        self.writer = "gone"
        restore(self.stage.database_url, table, column, self.fill(before), self.fill(after))

    def expected(self) -> list[Answer]:
        way = self.way
        return [
            *(Answer(self.fill(path), 200) for path in way.routed),
            *(Answer(self.fill(path), 404) for path in way.gone),
            *(Answer(self.fill(path), 200, self.fill(text)) for path, text in way.shows.items()),
        ]


class Stage:
    """A running site with the pages of all ways; made by ``open_stage``."""

    def __init__(
        self,
        database_url: str,
        site: DemoSite,
        console: Console,
        pages: Mapping[str, Mapping[str, int]],
        reload: Reload,
    ) -> None:
        self.database_url = database_url
        self.site = site
        self.console = console
        self.reload = reload
        self.kind = kind_of(database_url)
        self.pushes = reload == "ours" and self.kind == POSTGRESQL
        self.fleet = Fleet(site, Database(database_url, {}))
        self._pages = pages
        self._editor: Editor | None = None
        self._is_behind = False

    @property
    def editor(self) -> Editor:
        """Works on the first worker."""
        if self._editor is None:
            self._editor = Editor(self.site, worker=self.site.workers[0])
        return self._editor

    def go(self, way: Way, patience: float) -> Outcome:
        """Go a way and ask all workers for what it changed, for ``patience`` seconds."""
        scene = Scene(self, way, self._pages[way.id])
        self._settle()
        # Logging in is no part of a way.
        _ = self.editor
        if way.is_quiet:
            return self._go_quietly(scene)
        self._check_before(scene)
        way.act(scene)
        wrong = self._wrong_after(scene, patience)
        if not wrong:
            return Outcome("yes")
        self._is_behind = True
        return Outcome("late" if self._is_late(scene) else "no", wrong)

    def _go_quietly(self, scene: Scene) -> Outcome:
        self._have_all_look()
        before = self._reloads()
        scene.way.act(scene)
        self._have_all_look()
        after = self._reloads()
        wrong = () if before == after else (f"rebuilt for nothing: {before} became {after}",)
        return Outcome("no" if wrong else "yes", wrong)

    def _have_all_look(self) -> None:
        """Until no worker has anything to look up any more."""
        if self.pushes:
            self.fleet.wait_for_push()
            return
        if self.reload == "ours":
            threading.Event().wait(POLL_INTERVAL)
        self.fleet.ping()

    def _reloads(self) -> int | str:
        """What is another one after a reload, whether that was of use or not."""
        if self.reload == "ours":
            return self.fleet.reloads()
        return str(execute(self.database_url, "SELECT revision FROM cms_urlconfrevision"))

    # Before a way

    def _settle(self) -> None:
        """Have all workers current, and nothing on its way that could help the next way."""
        if self.reload == "core":
            self.console.run(_FINISH_A_REQUEST)
            revision = secrets.token_hex(16)
            execute(self.database_url, f"UPDATE cms_urlconfrevision SET revision = '{revision}'")
            self.fleet.ping()
        elif self.pushes:
            if self._is_behind:
                self.fleet.database.notify()
            self.fleet.wait_for_push()
        self._is_behind = False

    def _check_before(self, scene: Scene) -> None:
        def already() -> list[str]:
            """Answers that are there although nothing was done."""
            return [
                f"worker {worker.pid}: {answer}"
                for worker in self.fleet.workers
                for answer in scene.expected()
                if not self._fault(worker, answer)
            ]

        try:
            # Polling workers may not have looked since the last way.
            wait_until(lambda: not already(), 3 * POLL_INTERVAL, "the state before")
        except TimeoutError:
            raise StageError(f"{scene.way.id} was gone before: {already()}") from None

    # After it

    def _wrong_after(self, scene: Scene, patience: float) -> tuple[str, ...]:
        def faults() -> list[str]:
            found = (
                self._fault(worker, answer)
                for worker in self.fleet.workers
                for answer in scene.expected()
            )
            return [fault for fault in found if fault]

        try:
            wait_until(lambda: not faults(), patience, "the workers")
        except TimeoutError:
            return tuple(faults())
        return ()

    def _fault(self, worker: Any, wanted: Answer) -> str:
        """What is wrong with a worker's answer; empty if nothing is."""
        answer = self.site.get(wanted.path, worker=worker)
        if answer.status == wanted.status and wanted.text in answer.text:
            return ""
        shown = f" {answer.text[:60]!r}" if wanted.text else ""
        return f"worker {worker.pid}: {wanted.path} is {answer.status}{shown}, and not {wanted[1:]}"

    def _is_late(self, scene: Scene) -> bool:
        """Whether one more request in the writer's process helps. A worker has had some."""
        if scene.writer != "shell":
            return False
        self.console.run(_FINISH_A_REQUEST)
        return not self._wrong_after(scene, 1.0)


@contextlib.contextmanager
def open_stage(
    database_url: str,
    run_dir: Path,
    ways: Sequence[Way],
    *,
    reload: Reload = "ours",
    prepare: bool = True,
    workers: int = 2,
) -> Iterator[Stage]:
    """Start the site on a database, with the pages of all ways.

    :param prepare: migrate, and create the demo's content.
    """
    env = {
        **CONTROLS,
        "DEMO_ROOT_URLCONF": "tests.e2e.controls.flat_urls",
        "DEMO_RELOAD": reload,
        "DEMO_CMS_URLRELOAD": json.dumps(PUSH_ONLY),
    }
    site = DemoSite(database_url, run_dir, workers=workers, prepare=False, env=env)
    if prepare:
        site.prepare()
    # Where it has to answer a request, it must not be taken for one more worker.
    deaf = {"DEMO_CMS_URLRELOAD": json.dumps({**PUSH_ONLY, "LISTEN": False})}
    with Console(site, deaf) as console:
        wanted = {way.id: [asdict(page) for page in way.pages] for way in ways}
        pages = console.run(_CREATE, ways=wanted)
        with site:
            stage = Stage(database_url, site, console, pages, reload)
            stage.fleet.ping()
            yield stage


# Whatever the database is


def kind_of(url: str) -> str:
    """The kind of database: the scheme of its URL, by the name that ways use."""
    return {"mysql": "mariadb"}.get(urlsplit(url).scheme, urlsplit(url).scheme)


def connect(url: str) -> Any:
    """A connection of DB-API 2.0."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return sqlite3.connect(unquote(parts.path[1:]), timeout=20)
    if parts.scheme == "mysql":
        return pymysql.connect(
            host=parts.hostname,
            port=parts.port or 3306,
            user=parts.username,
            password=parts.password or "",
            database=parts.path[1:],
        )
    return psycopg.connect(url)


def execute(url: str, statement: str) -> list[Any]:
    """Execute one statement, and commit."""
    with contextlib.closing(connect(url)) as connection:
        cursor = connection.cursor()
        cursor.execute(statement)
        rows = list(cursor.fetchall()) if cursor.description else []
        connection.commit()
    return rows


def restore(url: str, table: str, column: str, before: str, after: str) -> None:
    """What the restore of a dump does to a table, in one transaction; one value is another."""
    with contextlib.closing(connect(url)) as connection:
        cursor = connection.cursor()
        cursor.execute(f"SELECT * FROM {table}")
        names = [entry[0] for entry in cursor.description]
        rows = [list(row) for row in cursor.fetchall()]
        place = names.index(column)
        for row in rows:
            row[place] = after if row[place] == before else row[place]
        columns = ", ".join(names)
        if urlsplit(url).scheme == "postgresql":
            cursor.execute(f"TRUNCATE {table}")
            with cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
        else:
            mark = "?" if urlsplit(url).scheme == "sqlite" else "%s"
            cursor.execute(f"DELETE FROM {table}")
            cursor.executemany(
                f"INSERT INTO {table} ({columns}) VALUES ({', '.join(mark for _ in names)})", rows
            )
        connection.commit()
