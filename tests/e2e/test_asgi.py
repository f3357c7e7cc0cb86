"""Under ASGI: a change is heard, and nothing is asked in the event loop."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any


def test_uvicorn__follows__under_concurrent_requests(start: Any, database: Any) -> None:
    fleet = start(server="uvicorn", workers=1)
    paths = ("/ping/", "/aping/", "/en/events/", "/controls/areverse/?name=events:event-list")
    with ThreadPoolExecutor(8) as pool:
        for number in range(10):
            database.move("news", f"news-{number}")
            database.notify()
            answers = pool.map(lambda n: fleet.site.get(paths[n % len(paths)]).status, range(40))
            assert set(answers) == {200}
            fleet.wait_for(f"/en/news-{number}/first-story/", timeout=10)
            assert fleet.reverse("news:story-list", "areverse") == [f"/en/news-{number}/"]
    assert "SynchronousOnlyOperation" not in fleet.log
    assert "Traceback" not in fleet.log


def test_uvicorn__pushes__and_leaves_no_session_behind(start: Any, database: Any) -> None:
    from tests.support.waiting import wait_until

    fleet = start(server="uvicorn", workers=1)
    fleet.ping()
    wait_until(lambda: len(database.fleet()) == 1, 10, "a listener")
    assert fleet.site.stop()
    wait_until(lambda: database.fleet() == [], 10, "the end of its session")
