"""``python -m tests.e2e.hammer``: reverses apphook URLs in many threads while they are reloaded.

Runs on the database and with the reloading that the demo site's environment says, and prints as
JSON what came of it.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable

import django
import psycopg

PAGES = 50
THREADS = 8
RELOADS = 200
#: Shortest time, in seconds, between two changes. A process takes 20 notifications a second for a
#: reason to look (hearing.HINTS_RATE); more are a flood, and the last of it is taken in late.
PACE = 0.06


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
        self.rounds = [0] * THREADS
        #: What the moving page may be called: before the change, and after it.
        self.allowed = {"/en/page-0/"}
        self.freshen = _freshen()
        self.next_at = 0.0

    def run(self) -> None:
        threads = [threading.Thread(target=self._reverse, args=(n,)) for n in range(THREADS)]
        for thread in threads:
            thread.start()
        try:
            with psycopg.connect(os.environ["DEMO_DATABASE_URL"], autocommit=True) as connection:
                for number in range(RELOADS):
                    self._change(connection, f"page-0-{number}")
        finally:
            self.stop.set()
            for thread in threads:
                thread.join()

    def _change(self, connection: psycopg.Connection, path: str) -> None:
        before = self.allowed
        self.allowed = {*before, f"/en/{path}/"}
        self.stop.wait(max(0.0, self.next_at - time.monotonic()))
        self.next_at = time.monotonic() + PACE
        with connection.transaction():
            self._write(connection, path)
        # Until each thread has gone through at least one whole round since.
        wanted = [rounds + 2 for rounds in self.rounds]
        while not all(done >= goal for done, goal in zip(self.rounds, wanted, strict=True)):
            self.stop.wait(0.002)
        self.allowed = {f"/en/{path}/"}

    def _write(self, connection: psycopg.Connection, path: str) -> None:
        connection.execute(
            "UPDATE cms_pageurl SET path = %s FROM cms_page WHERE cms_page.id = page_id "
            "AND application_namespace = 'hook-0'",
            (path,),
        )
        # For core: what its admin does after a change. For us: one more that changes nothing.
        connection.execute("UPDATE cms_urlconfrevision SET revision = %s", (path,))

    def _reverse(self, thread: int) -> None:
        from django.db import connection
        from django.utils.translation import override

        with override("en"):
            while not self.stop.is_set():
                self.freshen()
                for number in range(thread % 2, PAGES, 7):
                    self._reverse_one(number)
                self._reverse_one(0)
                self.rounds[thread] += 1
        connection.close()

    def _reverse_one(self, number: int) -> None:
        from django.urls import NoReverseMatch, reverse

        allowed = self.allowed
        try:
            url = reverse(f"hook-{number}:story-list")
        except NoReverseMatch as error:
            self._count("NoReverseMatch", str(error))
        except Exception as error:
            self._count("other exceptions", repr(error))
        else:
            allowed = self.allowed | allowed if number == 0 else {f"/en/page-{number}/"}
            if url in allowed:
                self.found["right"] += 1
            else:
                self._count("wrong URLs", f"{url} is not of {sorted(allowed)}")

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
        for name in ("right", "NoReverseMatch", "wrong URLs", "other exceptions")
    }
    sys.stdout.write(json.dumps({**result, "examples": hammer.examples}))


if __name__ == "__main__":
    main()
