"""``python -m tests.e2e.random_changes``: three writers change what three pages serve, in every way
at random, while readers ask the workers of a site which state they serve.

An answer is wrong that is of no state that was committed, or of one that was current at no time
between BOUND seconds before the request and the answer. Runs on the database that the demo site's
environment says, and prints as JSON what came of it. The first argument has the addresses of the
workers, as JSON; then come the number of changes and the seed.
"""

from __future__ import annotations

import http.client
import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import django

from tests.demo.client import request

#: Of the listeners. Together with what a refresh and a busy machine take, they are the bound.
HEARTBEAT_INTERVAL, HEARTBEAT_TIMEOUT = 2.0, 2.0
BOUND = HEARTBEAT_INTERVAL + HEARTBEAT_TIMEOUT + 1.0 + 3.0
READERS = 6
#: Answers of each worker, at the end, so that each of its threads is asked.
LAST_ANSWERS = 24
#: Seconds that a writer rests after a change, at random, up to this.
REST = 0.04
#: The page of each writer, and the apphook that it has.
PAGES = {
    "about": ("RoutesApphook", "routes"),
    "news": ("SecondRoutesApphook", "second"),
    "events": ("ThirdRoutesApphook", "third"),
}


@dataclass(frozen=True)
class Facets:
    """All that decides what a page serves. No value comes back after it was another."""

    en: str
    de: str
    namespace: str
    word: str
    is_attached: bool = True

    @property
    def served(self) -> str:
        """What tests.e2e.routes.views shows of it."""
        if not self.is_attached:
            return json.dumps({"en": "NoReverseMatch", "de": "NoReverseMatch"})
        rest = [self.namespace, {"words": [self.word]}]
        return json.dumps(
            {"en": [f"/en/{self.en}/row/", *rest], "de": [f"/de/{self.de}/row/", *rest]}
        )


@dataclass
class Committed:
    """A state, and when its COMMIT began and ended; the end is None while it is under way."""

    served: str
    began: float
    ended: float | None = None


class History:
    """The states of one page, in their order. Only its writer adds to it."""

    def __init__(self) -> None:
        self._states: list[Committed] = []
        self._places: dict[str, list[int]] = {}

    def begin(self, facets: Facets) -> Committed:
        state = Committed(facets.served, time.monotonic())
        self._states.append(state)
        self._places.setdefault(state.served, []).append(len(self._states) - 1)
        return state

    def cancel(self) -> None:
        """What was begun was not committed after all."""
        state = self._states.pop()
        self._places[state.served].pop()

    @property
    def last(self) -> str:
        return self._states[-1].served

    def age(self, served: str, began: float, ended: float) -> float | None:
        """For how long this had not been current when a request began: 0 if it was, at any time
        until the answer. None if it never was."""
        ages = [
            self._age(place, began)
            for place in list(self._places.get(served, ()))
            if self._states[place].began <= ended
        ]
        return min(ages, default=None)

    def _age(self, place: int, began: float) -> float:
        if place + 1 >= len(self._states):
            return 0.0
        next_ended = self._states[place + 1].ended
        return 0.0 if next_ended is None else max(0.0, began - next_ended)


@dataclass
class Report:
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    oldest: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, what: str) -> None:
        with self.lock:
            self.counts[what] += 1

    def add(self, line: str) -> None:
        with self.lock:
            self.counts["wrong"] += 1
            if len(self.wrong) < 20:
                self.wrong.append(line)


class RolledBackError(Exception):
    """Ends a transaction, or a savepoint."""


class Writer:
    """Changes one page."""

    def __init__(self, key: str, history: History, report: Report, seed: int) -> None:
        from cms.models import Page

        self._key = key
        self._history = history
        self._report = report
        self._random = random.Random(f"{seed} {key}")
        self._page: Any = Page.objects.get(reverse_id=key)
        self._number = 0
        self._prepare()
        ways: list[Callable[[], None]] = [
            self.path_by_sql,
            self.path_by_orm,
            self.language,
            self.both_languages,
            self.namespace_and_row,
            self.row_by_orm,
            self.row_by_update,
            self.savepoint_rolled_back,
            self.rolled_back,
            self.detached,
        ]
        # The tree of pages does not bear two that move at once.
        self._ways = [*ways, self.moved] if key == "about" else ways

    def run(self, changes: int) -> None:
        from django.db import OperationalError, connection

        pause = threading.Event()
        while self._number < changes:
            way = self._random.choice(self._ways)
            self._number += 1
            try:
                way()
            except OperationalError as error:  # a deadlock with another writer, which is theirs
                self._report.count(f"given up by the database: {type(error.__cause__).__name__}")
            else:
                self._report.count(way.__name__)
            pause.wait(self._random.uniform(0, REST))
        connection.close()

    # Parts

    def _prepare(self) -> None:
        from tests.e2e.sections.models import Section

        apphook, app = PAGES[self._key]
        Section._default_manager.filter(note=str(self._page.pk)).delete()
        Section._default_manager.create(slug=f"{app}-word", note=str(self._page.pk))
        self._row = {"application_urls": apphook, "application_namespace": app}
        self._pages().update(**self._row)
        urls = dict(self._page.urls.values_list("language", "path"))
        self._facets = Facets(urls["en"], urls["de"], app, f"{app}-word")
        self._history.begin(self._facets).ended = time.monotonic()

    def _pages(self) -> Any:
        from cms.models import Page

        return Page.objects.filter(pk=self._page.pk)

    def _url(self, language: str) -> Any:
        from cms.models import PageUrl

        return PageUrl.objects.get(page=self._page.pk, language=language)

    def _rows(self) -> Any:
        from tests.e2e.sections.models import Section

        return Section._default_manager.filter(note=str(self._page.pk))

    def _new(self, what: str) -> str:
        return f"{self._key}-{what}-{self._number}"

    def _update_path(self, language: str, path: str) -> None:
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE cms_pageurl SET path = %s WHERE page_id = %s AND language = %s",
                [path, self._page.pk, language],
            )

    def _commit(self, act: Callable[[], object], **changes: Any) -> None:
        """Make a change in autocommit, whose outcome is known before."""
        facets = replace(self._facets, **changes)
        state = self._history.begin(facets)
        try:
            act()
        except Exception:
            self._history.cancel()
            raise
        state.ended = time.monotonic()
        self._facets = facets

    def _transaction(self, act: Callable[[], object], **changes: Any) -> None:
        from django.db import transaction

        def do() -> None:
            with transaction.atomic():
                act()

        self._commit(do, **changes)

    # Ways

    def path_by_sql(self) -> None:
        new = self._new("sql")
        self._commit(lambda: self._update_path("en", new), en=new)

    def path_by_orm(self) -> None:
        url = self._url("en")
        url.path = self._new("orm")
        self._commit(url.save, en=url.path)

    def language(self) -> None:
        url = self._url("de")
        url.path = url.slug = self._new("de")
        self._commit(url.save, de=url.path)

    def both_languages(self) -> None:
        en, de = self._new("en"), self._new("de")

        def act() -> None:
            self._update_path("en", en)
            self._update_path("de", de)

        self._transaction(act, en=en, de=de)

    def namespace_and_row(self) -> None:
        en, word, namespace = self._new("en"), self._new("word"), self._new("ns")

        def act() -> None:
            self._rows().update(slug=word)
            self._pages().update(application_namespace=namespace)
            self._update_path("en", en)

        self._transaction(act, en=en, word=word, namespace=namespace)

    def row_by_orm(self) -> None:
        row = self._rows().get()
        row.slug = self._new("saved")
        self._commit(row.save, word=row.slug)

    def row_by_update(self) -> None:
        word = self._new("updated")
        self._commit(lambda: self._rows().update(slug=word), word=word)

    def savepoint_rolled_back(self) -> None:
        from django.db import transaction

        en = self._new("outer")

        def act() -> None:
            self._update_path("en", en)
            try:
                with transaction.atomic():
                    self._change_all("inner")
                    raise RolledBackError
            except RolledBackError:
                pass

        self._transaction(act, en=en)

    def rolled_back(self) -> None:
        from django.db import transaction

        try:
            with transaction.atomic():
                self._change_all("never")
                raise RolledBackError
        except RolledBackError:
            pass

    def _change_all(self, what: str) -> None:
        self._update_path("en", self._new(what))
        url = self._url("de")
        url.path = self._new(what)
        url.save()
        row = self._rows().get()
        row.slug = self._new(what)
        row.save()

    def detached(self) -> None:
        """And attached again, with another path."""
        en = self._new("again")
        self._commit(
            lambda: self._pages().update(application_urls="", application_namespace=None),
            is_attached=False,
        )

        def act() -> None:
            self._pages().update(**{**self._row, "application_namespace": self._facets.namespace})
            self._update_path("en", en)

        self._transaction(act, en=en, is_attached=True)

    def moved(self) -> None:
        """To the other of two parents, with other slugs, so that no path comes back."""
        from cms.models import Page

        to = "left" if self._facets.en.startswith("right/") else "right"
        en, de = self._new("moved"), self._new("moved-de")

        def act() -> None:
            for language, path in (("en", en), ("de", de)):
                self._page.urls.filter(language=language).update(path=path, slug=path)
            page, target = self._pages().get(), Page.objects.get(reverse_id=to)
            page.move_page(getattr(target, "node", target), "last-child")

        self._transaction(act, en=f"{to}/{en}", de=f"{to}-de/{de}")


class Reader:
    """Asks one of the workers for one of the pages, all the time."""

    def __init__(self, addresses: list[str], histories: dict[str, History], report: Report) -> None:
        self._addresses = addresses
        self._histories = histories
        self._report = report

    def run(self, number: int, stop: threading.Event) -> None:
        choice = random.Random(number)
        while not stop.is_set():
            self.read(choice.choice(self._addresses), choice.choice(list(self._histories)))

    def read(self, address: str, key: str) -> None:
        began = time.monotonic()
        served = self.ask(address, key)
        ended = time.monotonic()
        self._report.count("answers")
        age = self._histories[key].age(served, began, ended)
        if age is None:
            self._report.add(f"never was: {served} (now {self._histories[key].last})")
        elif age > BOUND:
            self._report.add(f"{age:.1f} s too old: {served}")
        else:
            self._report.oldest = max(self._report.oldest, age)

    def ask(self, address: str, key: str) -> str:
        try:
            answer = request(address, f"/served/?name={PAGES[key][1]}:row")
            return json.dumps(json.loads(answer.body)["served"])
        except (OSError, ValueError, http.client.HTTPException) as error:
            return f"{type(error).__name__}: {error}"

    def wait_for_last(self) -> None:
        """Within the bound, each thread of each worker has the last state of each page."""
        until = time.monotonic() + BOUND
        places = [(address, key) for address in self._addresses for key in self._histories]
        while (wrong := self._wrong(places)) and time.monotonic() < until:
            threading.Event().wait(0.05)
        for line in wrong:
            self._report.add(f"at the end: {line}")

    def _wrong(self, places: list[tuple[str, str]]) -> list[str]:
        with ThreadPoolExecutor(8) as pool:
            asked = [
                (key, pool.submit(self.ask, address, key))
                for address, key in places
                for _ in range(LAST_ANSWERS // len(self._histories))
            ]
        return [
            f"{answer.result()} for {self._histories[key].last}"
            for key, answer in asked
            if answer.result() != self._histories[key].last
        ]


def create_parents() -> None:
    from cms.api import create_page, create_page_content

    for key in ("left", "right"):
        page = create_page(key, "demo/page.html", "en", slug=key, reverse_id=key)
        create_page_content("de", f"{key}-de", page, slug=f"{key}-de", template="demo/page.html")


def main() -> None:
    addresses, changes, seed = json.loads(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    django.setup()
    create_parents()
    report = Report()
    histories = {key: History() for key in PAGES}
    writers = [Writer(key, history, report, seed) for key, history in histories.items()]
    reader = Reader(addresses, histories, report)
    reader.wait_for_last()
    stop = threading.Event()
    began = time.monotonic()
    with ThreadPoolExecutor(READERS + len(writers)) as pool:
        reading = [pool.submit(reader.run, number, stop) for number in range(READERS)]
        writing = [pool.submit(writer.run, changes // len(writers)) for writer in writers]
        try:
            for each in writing:
                each.result()
            took = time.monotonic() - began
            reader.wait_for_last()
        finally:
            stop.set()
        for each in reading:
            each.result()
    result = {"counts": report.counts, "wrong": report.wrong, "oldest": report.oldest}
    sys.stdout.write(json.dumps({**result, "seconds": took}))


if __name__ == "__main__":
    main()
