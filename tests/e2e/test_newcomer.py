"""The README's own steps, on a project that knows nothing of this checkout."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.demo import client
from tests.e2e.conftest import Database
from tests.e2e.newcomer import Project, readme_steps
from tests.support.postgres import Server, create_database, drop_database
from tests.support.waiting import wait_until

WORKERS = 2
PAGE = """
from cms.api import create_page
create_page(
    "News", "home.html", "en", slug="news", apphook="NewsApphook", apphook_namespace="news"
)
"""


@pytest.fixture
def database(postgres: Server) -> Iterator[Database]:
    """An empty one."""
    name = f"newcomer_{secrets.token_hex(4)}"
    yield Database(create_database(postgres.dsn(), name), {})
    drop_database(postgres.dsn(), name)


def ask_all(address: str, path: str) -> set[int]:
    """Ask until each worker has answered; return the statuses of all answers."""
    statuses: set[int] = set()
    pids: set[str] = set()

    def all_have_answered() -> bool:
        answer = client.request(address, path)
        statuses.add(answer.status)
        pids.add(answer.text if answer.status == 200 else "")
        return len(pids - {""}) == WORKERS

    wait_until(all_have_answered, 30, lambda: f"{WORKERS} workers: {pids}, {statuses}")
    return statuses


def accepts(address: str) -> bool:
    try:
        return client.request(address, "/who/").status == 200
    except OSError:
        return False


@pytest.mark.newcomer
def test_three_steps_of_the_readme__and_an_apphook_is_pushed_to_all_workers(
    database: Database, wheel: Path, tmp_path: Path
) -> None:
    project = Project(tmp_path, database.dsn, wheel)
    project.begin()
    steps = readme_steps()
    assert len(steps) == 3
    for step in steps:
        project.follow(step)
    # "python manage.py check says what is missing or in the wrong place."
    assert "cms_urlreload" not in project.run("python", "manage.py", "check")
    doctor = project.run("python", "manage.py", "urlreload", "doctor")
    assert "WRONG" not in doctor
    assert "A notification arrived after" in doctor
    with project.serve(WORKERS) as address:
        wait_until(lambda: accepts(address), 30, lambda: f"gunicorn:\n{project.log}")
        assert ask_all(address, "/who/") == {200}
        wait_until(lambda: all_listen(database), 20, lambda: str(database.fleet()))
        assert client.request(address, "/en/news/story/").status == 404
        project.run("python", "manage.py", "shell", "-c", PAGE)
        # The first answer of each is right.
        assert ask_all(address, "/en/news/story/") == {200}
        status = project.run("python", "manage.py", "urlreload", "status")
        assert "2 workers are told of changes, none behind." in status
    wait_until(lambda: database.fleet() == [], 10, "the listeners to be gone")


def all_listen(database: Database) -> bool:
    """Whether all workers listen, and have built their URLs."""
    fleet = database.fleet()
    return len(fleet) == WORKERS and all(served != "-" for _, served in fleet)
