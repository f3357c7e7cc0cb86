"""What django CMS's own middleware does where ours is tested: a control, that those tests can
fail."""

from __future__ import annotations

import secrets
import threading
from collections import Counter
from typing import Any

from tests.support.versions import only_cms

RELOADS = 6


@only_cms((5, 0), "the measurements in the README are of django CMS 5.0")
def test_control__djangos_cms_own_middleware_lets_visitors_past_a_login(
    start: Any, database: Any
) -> None:
    """The load of test_reloads_under_load__let_nobody_past_a_login__and_lose_no_url."""
    database.sql(
        "UPDATE cms_page SET login_required = true WHERE id = %s", database.pages["events"]["id"]
    )
    fleet = start(
        workers=2,
        worker_class="gthread",
        threads=6,
        env={"DEMO_RELOAD": "core", "CONTROLS_SLOW_BUILD": "0.3"},
    )
    path = "/en/events/summer-party/"
    bump(database)
    assert fleet.statuses(path) == [302, 302]  # each has taken the revision for its own
    answers: Counter[int] = Counter()
    workers = fleet.workers
    stop = threading.Event()

    def hammer() -> None:
        while not stop.is_set():
            for worker in workers:
                answers[fleet.site.get(path, worker=worker).status] += 1

    threads = [threading.Thread(target=hammer) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(RELOADS):
            bump(database)
            stop.wait(1.5)  # of requests, in the middle of the reload and after it
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    print(dict(answers))
    assert answers[302] > 0
    assert answers[200] > 0


def bump(database: Any) -> None:
    """Have all workers reload: they compare this revision with their own on each request."""
    database.sql(
        "INSERT INTO cms_urlconfrevision (id, revision) VALUES (1, %s) "
        "ON CONFLICT (id) DO UPDATE SET revision = excluded.revision",
        secrets.token_hex(8),
    )
