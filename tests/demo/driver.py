"""The demo's driver: an editor changes apphooks, every worker is asked for the new and old URLs.

Measures; decides nothing about how it is shown.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import psycopg

from tests.demo.client import Response
from tests.demo.editor import Editor
from tests.demo.site import DemoSite, SiteError, Worker
from tests.support.waiting import wait_until

OURS = "query LIKE '%%cms-urlreload%%' AND query NOT LIKE '%%heartbeat%%'"
CORES = "query LIKE 'SELECT%%cms_urlconfrevision%%'"
# A statement that counts statements must not count itself.
_COUNT = """
    SELECT coalesce(sum(calls), 0)::bigint
    FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
    WHERE d.datname = current_database() AND query NOT LIKE '%%pg_stat_statements%%' AND {}
"""


@dataclass(frozen=True)
class Change:
    """One change by the editor, and what every worker must answer after it.

    ``new`` URLs must be 200 and ``old`` ones 404; ``other`` URLs of the app stay 200.
    """

    title: str
    make: Callable[[], Response]
    new: tuple[str, ...] = ()
    old: tuple[str, ...] = ()
    other: tuple[str, ...] = ()

    def expected(self) -> list[tuple[str, int]]:
        """URLs and their status. What changed comes first: a worker's first request counts."""
        return [
            *((path, 200) for path in self.new),
            *((path, 404) for path in self.old),
            *((path, 200) for path in self.other),
        ]


@dataclass(frozen=True)
class Outcome:
    """``worst`` is in seconds from the admin's response to the last worker that was right.

    None: a worker was still wrong when it was given up. ``faults`` has a line for each worker
    whose first answers were wrong, ``editor`` is the process that handled the change.
    """

    title: str
    editor: int | None
    worst: float | None
    faults: tuple[str, ...]

    @property
    def wrong(self) -> int:
        return len(self.faults)


@dataclass(frozen=True)
class Answers:
    """What a worker answered to all of a change's URLs: when, and the first wrong answer."""

    received_at: float
    fault: str | None


@dataclass(frozen=True)
class App:
    """An app of the demo and where its page is; slugs change as the editor works."""

    name: str
    apphook: str
    page_id: int
    detail: str
    slugs: dict[str, str]

    def url(self, language: str) -> str:
        return f"/{language}/{self.slugs[language]}/{self.detail}/"

    def urls(self) -> tuple[str, ...]:
        return tuple(self.url(language) for language in self.slugs)


class Driver:
    """Works on a running site whose pages have no apphooks yet."""

    def __init__(self, site: DemoSite, *, give_up_after: float = 10.0) -> None:
        self._site = site
        self._give_up_after = give_up_after
        self._editor = Editor(site)
        pages = site.content
        self.apps = (
            App("News", "NewsApphook", pages["news"]["id"], "first-story",
                {"en": "news", "de": "neues"}),
            App("Events", "EventsApphook", pages["events"]["id"], "sprint",
                {"en": "events", "de": "termine"}),
        )  # fmt: skip

    def warm_up(self) -> None:
        """One request to each worker: a page, so that its URLs are built."""
        for worker in self._site.workers:
            self._site.get("/en/", worker)

    def run(self, count: int) -> Iterator[Outcome]:
        """Make ``count`` changes; the editor goes from worker to worker."""
        for number, change in zip(range(count), self._changes(), strict=False):
            workers = self._site.workers
            self._editor.use_worker(workers[number % len(workers)])
            yield self._apply(change)

    # Changes

    def _changes(self) -> Iterator[Change]:
        number = 1
        while True:
            for app in self.apps:
                yield from self._round(app, number)
            number += 1

    def _round(self, app: App, number: int) -> Iterator[Change]:
        """Attach, a new slug in each language, detach."""
        page = app.page_id
        yield Change(
            f"attach {app.name}",
            lambda: self._editor.attach_apphook(page, app.apphook),
            new=app.urls(),
        )
        for language in tuple(app.slugs):
            yield self._slug_change(app, language, number)
        yield Change(
            f"detach {app.name}", lambda: self._editor.detach_apphook(page), old=app.urls()
        )

    def _slug_change(self, app: App, language: str, number: int) -> Change:
        old = app.url(language)
        slug = f"{app.slugs[language].partition('-')[0]}-{number}"
        app.slugs[language] = slug
        return Change(
            f"{app.name}: {language} slug to {slug}",
            lambda: self._editor.change_slug(app.page_id, language, slug),
            new=(app.url(language),),
            old=(old,),
            other=tuple(app.url(other) for other in app.slugs if other != language),
        )

    # Asking

    def _apply(self, change: Change) -> Outcome:
        response = change.make()
        workers = self._site.workers
        with ThreadPoolExecutor(len(workers)) as pool:
            asked = pool.map(lambda w: self._ask(w, change, response.received_at), workers)
            first_and_last = list(asked)
        faults = tuple(first.fault for first, _ in first_and_last if first.fault)
        last = [answers for _, answers in first_and_last]
        never = any(answers.fault for answers in last)
        worst = max(answers.received_at for answers in last) - response.received_at
        return Outcome(change.title, response.pid, None if never else worst, faults)

    def _ask(self, worker: Worker, change: Change, since: float) -> tuple[Answers, Answers]:
        """A worker's first answers, and its last: the first right ones, or when it is given up."""
        first = last = self._ask_once(worker, change, since)
        deadline = since + self._give_up_after
        pause = threading.Event()
        while last.fault and time.monotonic() < deadline:
            pause.wait(0.02)
            last = self._ask_once(worker, change, since)
        return first, last

    def _ask_once(self, worker: Worker, change: Change, since: float) -> Answers:
        """Ask for all URLs, up to the first wrong answer. What changed is asked for first."""
        for path, expected in change.expected():
            asked_at = time.monotonic()
            try:
                answer = self._site.get(path, worker)
            except (OSError, http.client.HTTPException) as error:
                # The worker died: wrong, but nothing that ends the demo.
                return Answers(time.monotonic(), f"worker {worker.pid}: {path}: {error!r}")
            if answer.status != expected:
                fault = (
                    f"worker {worker.pid}: {path} was {answer.status}, not {expected}"
                    f" (asked {1000 * (asked_at - since):.1f} ms after the admin's response)"
                )
                return Answers(answer.received_at, fault)
        return Answers(answer.received_at, None)

    # Unchanged requests

    def ensure_attached(self) -> None:
        """Attach every apphook that the changes left detached: the site as a visitor wants it."""
        for app in self.apps:
            if self._site.get(app.url("en")).status != 200:
                self._editor.attach_apphook(app.page_id, app.apphook)

    def count_on_unchanged(self, dsn: str, requests: int, statements: str) -> int:
        """How many ``statements`` the server saw in ``requests`` requests to apphook pages.

        Raise ``psycopg.Error`` where the server has no pg_stat_statements, ``SiteError`` where the
        count cannot be right.
        """
        with psycopg.connect(dsn, autocommit=True) as connection:
            self._settle(connection)
            before = count_statements(connection, statements)
            if not before:
                # The changes before must have asked something; else this would count nothing.
                raise SiteError("the server saw no such statement at all: is its text changed?")
            for number in range(requests):
                self._visit(number)
            return count_statements(connection, statements) - before

    def _settle(self, connection: psycopg.Connection[Any]) -> None:
        """Until a request to every worker adds no statement: core bumps its revision late."""

        def quiet() -> bool:
            before = count_statements(connection, OURS)
            for number in range(2 * len(self._site.workers)):
                self._visit(number)
            return count_statements(connection, OURS) == before

        wait_until(quiet, 30, "the workers to be quiet after the last change", interval=0.1)

    def _visit(self, number: int) -> None:
        workers = self._site.workers
        worker = workers[number % len(workers)]
        app = self.apps[number // len(workers) % len(self.apps)]
        answer = self._site.get(app.url("en"), worker)
        if answer.status != 200:
            raise SiteError(f"{app.url('en')} of worker {worker.pid} answered {answer.status}")


def count_statements(connection: psycopg.Connection[Any], statements: str) -> int:
    """Calls of the statements that match, in this database, since the server started."""
    # Fixed conditions of this module, and %% because psycopg reads % in a query as a parameter.
    row = connection.execute(_COUNT.format(statements).encode(), {}).fetchone()
    return int(row[0]) if row else 0
