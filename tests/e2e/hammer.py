"""``python -m tests.e2e.hammer``: reverses apphook URLs in many threads while they are reloaded.

An answer is wrong that is of no state that was committed, or of an older one than the same thread
has seen before. How late a thread sees a change is measured beside that: these threads leave the
one that listens little of the interpreter.

Runs on the database and with the reloading that the demo site's environment says, and prints as
JSON what came of it.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from statistics import median

import django
import psycopg

PAGES = 50
THREADS = 8
#: Unless the command line has another number.
RELOADS = 200
#: Seconds in which each thread must have seen a change.
PATIENCE = 10
LATE = "changes not seen in time"


def _freshen() -> Callable[[], None]:
    """What the middleware does before each request."""
    if os.environ["DEMO_RELOAD"] == "core":
        from cms.utils.apphook_reload import ensure_urlconf_is_up_to_date

        return ensure_urlconf_is_up_to_date  # type: ignore[no-any-return]
    from cms_urlreload.tasks import ensure_fresh

    return ensure_fresh


def _create_pages() -> None:
    from cms.api import create_page

    for number in range(PAGES):
        create_page(
            f"Page {number}",
            "demo/page.html",
            "en",
            slug=f"page-{number}",
            apphook="NewsApphook",
            apphook_namespace=f"hook-{number}",
        )


class Hammer:
    """Threads that reverse, and one that changes."""

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()
        self.examples: list[str] = []
        self.stop = threading.Event()
        #: The number of the last change, counted from 1; 0 is what was there before.
        self.changes = 0
        #: Of each thread: the newest change that it has seen.
        self.seen = [0] * THREADS
        self.delays: list[float] = []
        self.freshen = _freshen()

    def run(self) -> None:
        threads = [threading.Thread(target=self._reverse, args=(n,)) for n in range(THREADS)]
        for thread in threads:
            thread.start()
        try:
            with psycopg.connect(os.environ["DEMO_DATABASE_URL"], autocommit=True) as connection:
                for _ in range(int(sys.argv[1]) if sys.argv[1:] else RELOADS):
                    self._change(connection)
        finally:
            self.stop.set()
            for thread in threads:
                thread.join()

    def _change(self, connection: psycopg.Connection) -> None:
        self.changes += 1
        path = f"page-0-{self.changes}"
        connection.execute(
            "UPDATE cms_pageurl SET path = %s FROM cms_page WHERE cms_page.id = page_id "
            "AND application_namespace = 'hook-0'",
            (path,),
        )
        # For core: what its admin does after a change. For us: one more that changes nothing.
        connection.execute("UPDATE cms_urlconfrevision SET revision = %s", (path,))
        committed = time.monotonic()
        while any(seen < self.changes for seen in self.seen):
            if time.monotonic() > committed + PATIENCE:
                self._count(LATE, path)
                break
            self.stop.wait(0.002)
        self.delays.append(time.monotonic() - committed)

    def _reverse(self, thread: int) -> None:
        from django.db import connection
        from django.utils.translation import override

        with override("en"):
            while not self.stop.is_set():
                self.freshen()
                for number in range(1 + thread % 2, PAGES, 7):
                    self._reverse_one(number, f"page-{number}".__eq__)
                self._reverse_one(0, functools.partial(self._sees, thread))
        connection.close()

    def _sees(self, thread: int, path: str) -> bool:
        """Whether a thread may be told this of the page that moves; keeps that it was."""
        change = int(path.removeprefix("page-0").removeprefix("-") or 0)
        if not self.seen[thread] <= change <= self.changes:
            return False
        self.seen[thread] = change
        return True

    def _reverse_one(self, number: int, is_right: Callable[[str], bool]) -> None:
        from django.urls import NoReverseMatch, reverse

        try:
            url = reverse(f"hook-{number}:story-list")
        except NoReverseMatch as error:
            self._count("NoReverseMatch", str(error))
        except Exception as error:
            self._count("other exceptions", repr(error))
        else:
            if is_right(url.removeprefix("/en/").removesuffix("/")):
                self.found["right"] += 1
            else:
                self._count("wrong URLs", f"{url} of page {number}, after {self.changes} changes")

    def _count(self, what: str, example: str) -> None:
        self.found[what] += 1
        if len(self.examples) < 5:
            self.examples.append(f"{what}: {example[:200]}")


def main() -> None:
    django.setup()
    from cms.utils.apphook_reload import mark_urlconf_as_changed

    _create_pages()
    mark_urlconf_as_changed()
    hammer = Hammer()
    hammer.freshen()
    hammer.run()
    result = {
        name: hammer.found[name]
        for name in ("right", "NoReverseMatch", "wrong URLs", "other exceptions", LATE)
    }
    late = {"median delay": median(hammer.delays), "longest delay": max(hammer.delays)}
    sys.stdout.write(json.dumps({**result, "examples": hammer.examples, **late}))


if __name__ == "__main__":
    main()
