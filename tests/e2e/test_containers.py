"""What needs a Docker engine: docker-compose.yml, and the container that tests take if they can.
Left out unless asked for (``-m docker``).
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pytest

from tests.demo import client
from tests.demo.editor import Editor
from tests.demo.site import ROOT, DemoSite
from tests.support import docker
from tests.support.docker import Compose
from tests.support.postgres import DEFAULT_IMAGE, DSN_VARIABLE, PG_BIN_VARIABLE
from tests.support.waiting import wait_until

pytestmark = pytest.mark.docker

WEB = {"web-1": "http://127.0.0.1:8001", "web-2": "http://127.0.0.1:8002"}
WORKERS = 2  # in each of them
DATABASE = "postgresql://postgres:postgres@127.0.0.1:5433/demo"
MANAGE = ("python", "-m", "tests.demo.manage")


@pytest.fixture
def compose() -> Iterator[Compose]:
    if reason := docker.missing(DEFAULT_IMAGE, "python:3.12-slim", "debian:bookworm-slim"):
        pytest.skip(reason)
    with Compose(f"cms-urlreload-{secrets.token_hex(4)}") as compose:
        yield compose


def accepts(address: str) -> bool:
    try:
        return client.request(address, "/ping/").status == 200
    except OSError:
        return False


def ask_all(address: str, path: str) -> dict[Any, int]:
    """Ask until each worker of a container has answered; return the last status of each."""
    statuses: dict[Any, int] = {}

    def all_have_answered() -> bool:
        answer = client.request(address, path)
        statuses[answer.pid] = answer.status
        return len(statuses) == WORKERS

    wait_until(all_have_answered, 30, lambda: f"{WORKERS} workers of {address}: {statuses}")
    return statuses


def all_answer(path: str, status: int) -> bool:
    return all(set(ask_all(address, path).values()) == {status} for address in WEB.values())


def editor(service: str) -> Editor:
    """One who works on the workers of one container."""
    return Editor(cast("DemoSite", SimpleNamespace(address=WEB[service])))


def fleet(compose: Compose) -> list[dict[str, Any]]:
    try:
        status = json.loads(compose.execute("web-1", *MANAGE, "urlreload", "status", "--json"))
    except docker.ComposeError:  # its exit code is 2 while nobody listens
        return []
    return list(status["workers"])


def test_compose__an_editors_change_in_one_container_is_right_on_each_worker_of_both(
    compose: Compose,
) -> None:
    for address in WEB.values():
        wait_until(lambda address=address: accepts(address), 60, address)  # type: ignore[misc]
    assert all_answer("/en/news/first-story/", 200)

    def all_listen() -> bool:
        workers = fleet(compose)
        return len(workers) == 4 and all(worker["current"] for worker in workers)

    wait_until(all_listen, 60, lambda: f"four that listen: {fleet(compose)}", interval=1)
    assert len({worker["host"] for worker in fleet(compose)}) == 2
    with psycopg.connect(DATABASE) as connection:
        row = connection.execute("SELECT page_id FROM cms_pageurl WHERE path = 'news'").fetchone()
    assert row is not None
    slug = "news"
    for service, new in (("web-1", "by-one"), ("web-2", "by-two")):
        editor(service).change_slug(row[0], "en", new)
        wait_until(lambda new=new: all_answer(f"/en/{new}/first-story/", 200), 5, new)  # type: ignore[misc]
        assert all_answer(f"/en/{slug}/first-story/", 404)
        slug = new
    # All but the listeners goes through the pooler, whose doctor finds nothing wrong.
    doctor = compose.execute("web-2", *MANAGE, "urlreload", "doctor")
    assert "WRONG" not in doctor
    with psycopg.connect(DATABASE) as connection:
        rows = connection.execute(
            "SELECT DISTINCT application_name LIKE 'cms-urlreload %', client_addr "
            "FROM pg_stat_activity WHERE datname = 'demo' AND pid <> pg_backend_pid()"
        ).fetchall()
    assert len({place for is_listener, place in rows if is_listener}) == 2
    assert len({place for is_listener, place in rows if not is_listener}) == 1


def test_testcontainers__gives_the_tests_a_server() -> None:
    if reason := docker.missing(DEFAULT_IMAGE):
        pytest.skip(reason)
    env = {k: v for k, v in os.environ.items() if k not in (DSN_VARIABLE, PG_BIN_VARIABLE)}
    answer = subprocess.run(
        [sys.executable, "-m", "tests.support.postgres"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        # Its reaper is one more image; the context manager stops the container as well.
        env={**env, "TESTCONTAINERS_RYUK_DISABLED": "true"},
        timeout=180,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert f"in a container of {DEFAULT_IMAGE}" in answer.stdout
    assert docker.containers("org.testcontainers=true") == []
