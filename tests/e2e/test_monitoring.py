"""Metrics and readiness, of real workers under gunicorn."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.demo import client
from tests.demo.site import Worker
from tests.e2e.conftest import Database, Fleet
from tests.e2e.test_outages import through
from tests.support.proxy import Proxy
from tests.support.waiting import wait_until

URLCONF = {"DEMO_ROOT_URLCONF": "tests.e2e.monitoring_urls"}
WORKERS = 3


class Metrics:
    """What one scrape has brought."""

    def __init__(self, text: str) -> None:
        families = text_string_to_metric_families(text)
        self._samples = [sample for family in families for sample in family.samples]

    def __call__(self, name: str, **labels: str) -> float:
        """The value of the one sample that has this name and these labels; 0 if there is none."""
        found = [s.value for s in self._samples if s.name == name and s.labels == labels]
        assert len(found) <= 1
        return found[0] if found else 0.0

    def reloads(self, reason: str) -> float:
        return self("cms_urlreload_reloads_total", reason=reason)

    def pids(self, mode: str) -> set[int]:
        """The processes that are said to be in this mode."""
        return {
            int(sample.labels["pid"])
            for sample in self._samples
            if sample.name == "cms_urlreload_mode"
            and sample.labels["mode"] == mode
            and sample.value == 1
        }


def scrape(fleet: Fleet) -> Metrics:
    """As Prometheus does: from whichever worker is free."""
    answer = fleet.site.get("/metrics/")
    assert answer.status == 200
    return Metrics(answer.body.decode())


def pids(fleet: Fleet) -> set[int]:
    return {worker.pid for worker in fleet.workers}


@pytest.fixture
def start_counting(start: Callable[..., Fleet], tmp_path: Path) -> Callable[..., Fleet]:
    """Start workers that have metrics, and listen."""
    folder = tmp_path / "metrics"
    folder.mkdir()
    variables = {
        **URLCONF,
        "PROMETHEUS_MULTIPROC_DIR": str(folder),
        "CONTROLS_BREAK_NEWS": str(tmp_path / "broken"),
    }

    def make(urlreload: dict[str, Any], **kwargs: Any) -> Fleet:
        fleet = start(
            workers=WORKERS, urlreload={**urlreload, "METRICS": True}, env=variables, **kwargs
        )
        fleet.ping()
        fleet.wait_for_push()
        return fleet

    return make


@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
def test_metrics__are_the_sums_of_all_workers__and_the_mode_is_of_each(
    start_counting: Any, database: Database, edit: Any, preload: bool
) -> None:
    fleet = start_counting({"HEARTBEAT_INTERVAL": 600}, preload=preload)
    before = scrape(fleet)
    assert before.reloads("first") == WORKERS
    assert before("cms_urlreload_reload_duration_seconds_count") == WORKERS
    assert before("cms_urlreload_heartbeats_total") >= WORKERS
    assert before.pids("push") == pids(fleet)
    assert before.pids("poll") == set()

    # An unchanged request counts nothing.
    for _ in range(10):
        fleet.ping()
    assert scrape(fleet)("cms_urlreload_token_reads_total") == before(
        "cms_urlreload_token_reads_total"
    )

    # A change that each worker hears once.
    database.forget_statements()
    database.move_and_notify("news", "moved")
    fleet.wait_for("/en/moved/first-story/")
    after = scrape(fleet)
    assert after.reloads("announced") == WORKERS
    name = "cms_urlreload_notifications_total"
    assert after(name) - before(name) == WORKERS
    # As many looks as the database has seen.
    name = "cms_urlreload_token_reads_total"
    assert after(name) - before(name) == database.looks() == WORKERS
    assert after("cms_urlreload_reload_duration_seconds_count") == 2 * WORKERS
    assert 0 < after("cms_urlreload_reload_duration_seconds_sum") < 60

    # One that a worker makes itself: a commit of its own, and an announcement to the others.
    editor = edit(fleet, worker=fleet.workers[0])
    editor.change_slug(database.pages["news"]["id"], "en", "edited")
    fleet.wait_for("/en/edited/first-story/")
    changed = scrape(fleet)
    assert changed.reloads("own") == 1
    assert changed.reloads("announced") == 2 * WORKERS - 1

    # One that nobody was told of, and a person who asks for a reload.
    database.move("news", "asked-for")
    fleet.site.manage("urlreload", "reload", "--wait", "20")
    fleet.wait_for("/en/asked-for/first-story/")
    asked = scrape(fleet)
    assert asked.reloads("asked") == WORKERS
    assert asked.reloads("announced") == 2 * WORKERS - 1
    assert asked("cms_urlreload_missed_changes_total") == 0
    assert asked("cms_urlreload_refresh_failures_total") == 0


def test_metrics__of_what_goes_wrong(
    start_counting: Any, database: Database, tmp_path: Path
) -> None:
    fleet = start_counting({"HEARTBEAT_INTERVAL": 1})
    database.move("news", "told-to-nobody")
    wait_until(
        lambda: scrape(fleet)("cms_urlreload_missed_changes_total") == WORKERS,
        20,
        "each worker to miss a change",
    )
    fleet.wait_for("/en/told-to-nobody/first-story/")
    assert scrape(fleet).reloads("heartbeat") == WORKERS

    (tmp_path / "broken").touch()
    database.move_and_notify("news", "broken")
    wait_until(
        lambda: fleet.ping() or scrape(fleet)("cms_urlreload_refresh_failures_total") >= WORKERS,
        20,
        "each worker to fail",
    )
    (tmp_path / "broken").unlink()
    fleet.wait_for("/en/broken/first-story/")

    # A worker that is gone is in no mode; what it has counted stays.
    before, gone = scrape(fleet), fleet.workers[0]
    fleet.site.kill_worker(gone)
    wait_until(
        lambda: len(pids(fleet) - {gone.pid}) == WORKERS,
        20,
        "another worker",
    )
    fleet.wait_for_push()
    after = scrape(fleet)
    assert after.pids("push") == pids(fleet)
    assert gone.pid not in after.pids("push") | after.pids("poll")
    assert after.reloads("heartbeat") == before.reloads("heartbeat")
    assert after.reloads("first") == WORKERS + 1


def test_metrics__show_who_polls(start_counting: Any, database: Database, tmp_path: Path) -> None:
    fleet = start_counting({})
    before = scrape(fleet)
    database.terminate_listeners()
    wait_until(lambda: scrape(fleet).pids("poll") == pids(fleet), 10, "all to poll")
    assert scrape(fleet).pids("push") == set()
    wait_until(lambda: scrape(fleet).pids("push") == pids(fleet), 30, "all to be told again")
    assert scrape(fleet).reloads("first") == before.reloads("first")


# --- readiness ------------------------------------------------------------------------------------

GRACE = 3.0


@pytest.fixture
def proxy(database: Database) -> Iterator[Proxy]:
    parts = urlsplit(database.dsn)
    with Proxy(parts.hostname or "", parts.port or 0) as proxy:
        yield proxy


@pytest.fixture
def start_probed(start: Any, database: Database, proxy: Proxy) -> Callable[..., Fleet]:
    """Start workers whose listeners go through the proxy, and that are unready after the grace."""

    def make(**urlreload: Any) -> Fleet:
        fleet: Fleet = start(
            workers=2,
            preload=True,  # the master is older than its workers; its age is not theirs
            urlreload={"LISTEN_DSN": through(proxy, database), "CONNECT_TIMEOUT": 2, **urlreload},
            env={**URLCONF, "MONITORING_GRACE": str(GRACE)},
        )
        return fleet

    return make


def probe(fleet: Fleet, worker: Worker) -> client.Response:
    return fleet.site.get("/ready/?format=json", worker=worker)


def readiness(fleet: Fleet) -> list[int]:
    return [probe(fleet, worker).status for worker in fleet.workers]


def report(fleet: Fleet) -> dict[str, str]:
    found: dict[str, str] = json.loads(probe(fleet, fleet.workers[0]).body)
    return found


def wait_for_readiness(fleet: Fleet, status: int, timeout: float) -> None:
    wait_until(
        lambda: readiness(fleet) == [status] * len(fleet.workers),
        timeout,
        lambda: f"{status} of all: {readiness(fleet)}",
    )


def test_readiness__of_listeners_that_cannot_connect__ends_after_the_grace__and_comes_back(
    start_probed: Any, proxy: Proxy
) -> None:
    """The first request of each worker is the probe itself."""
    proxy.refuses = True
    fleet = start_probed()
    begun = time.monotonic()
    assert readiness(fleet) == [200, 200]
    assert report(fleet) == {"ApphookUrls(push)": "OK"}
    wait_for_readiness(fleet, 500, timeout=GRACE + 10)
    assert time.monotonic() - begun >= GRACE
    text = report(fleet)["ApphookUrls(push)"]
    assert text.startswith("Unavailable: Not told of changes for ")
    assert "the listener has no connection (" in text
    assert "the database is asked every 1 seconds" in text
    # It is a warning to people: the site is right, by polling.
    fleet.database.move("news", "polled")
    fleet.wait_for("/en/polled/first-story/", timeout=10)

    proxy.refuses = False
    wait_for_readiness(fleet, 200, timeout=40)
    assert report(fleet) == {"ApphookUrls(push)": "OK"}


def test_readiness__of_listeners_that_lose_their_connection__ends_after_the_grace(
    start_probed: Any, proxy: Proxy
) -> None:
    fleet = start_probed(HEARTBEAT_INTERVAL=1, HEARTBEAT_TIMEOUT=1)
    fleet.ping()
    fleet.wait_for_push()
    proxy.drops = True  # nothing but the heartbeat's deadline can find that
    begun = time.monotonic()
    wait_for_readiness(fleet, 500, timeout=GRACE + 15)
    assert time.monotonic() - begun >= GRACE
    # The heartbeat was not answered; nor was any attempt to connect since, each told for itself.
    assert "no answer from the server" in fleet.log
    assert "the listener has no connection (" in report(fleet)["ApphookUrls(push)"]

    proxy.drops = False
    wait_for_readiness(fleet, 200, timeout=60)


def test_readiness__of_workers_that_may_not_listen(start_probed: Any, proxy: Proxy) -> None:
    proxy.refuses = True
    fleet = start_probed(LISTEN=False)
    fleet.ping()
    assert report(fleet) == {"ApphookUrls(poll: CMS_URLRELOAD['LISTEN'] is False.)": "OK"}
