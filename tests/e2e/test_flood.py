"""A role that may do nothing but connect notifies the channel, as any role may, and does so as
often and as badly as it can."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from cms_urlreload_pg.hearing import HINTS_BURST, HINTS_RATE
from tests.e2e.conftest import Database
from tests.e2e.lines import LineProcess, environment, move_by_sql
from tests.support.waiting import wait_until

FLOOD = 100_000
IN_ONE_TRANSACTION = 1_000
# Duplicates in one transaction are sent once, so each is another one.
RUBBISH = {
    "long": "left(i || repeat('x', 8000), 7999)",
    "binary": "i || repeat('\u0001\u007f\u20ac\U0001f600', 880)",
    "forged tokens": "i || ' ' || encode(sha256(i::text::bytea), 'hex')",
    "forged origins": "i || '-' || substr(md5(i::text), 1, 16)",
}


@pytest.fixture
def stranger(database: Database) -> Iterator[str]:
    """The address of a role with no right of its own."""
    database.sql("DROP ROLE IF EXISTS stranger")
    database.sql("CREATE ROLE stranger LOGIN PASSWORD 'stranger' NOINHERIT")
    parts = urlsplit(database.dsn)
    netloc = f"stranger:stranger@{parts.hostname}:{parts.port}"
    yield str(parts._replace(netloc=netloc).geturl())
    database.sql("DROP ROLE stranger")


def resident_mebibytes(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_rubbish_of_a_foreign_role__changes_no_answer__and_costs_a_bounded_number_of_looks(
    start: Any, database: Database, stranger: str
) -> None:
    fleet = start(workers=2, urlreload={"HEARTBEAT_INTERVAL": 5})
    fleet.ping()
    fleet.wait_for_push()
    database.forget_statements()
    memory = {worker.pid: resident_mebibytes(worker.pid) for worker in fleet.workers}
    answers: Counter[tuple[str, int]] = Counter()
    flooded = threading.Event()

    def ask() -> None:
        while not flooded.is_set():
            for path in ("/de/termine/summer-party/", "/en/nowhere/"):
                for status in fleet.statuses(path):
                    answers[path, status] += 1

    asker = threading.Thread(target=ask)
    asker.start()
    began = time.monotonic()
    try:
        with psycopg.connect(stranger, autocommit=True) as connection:
            kinds = list(RUBBISH.values())
            for number in range(FLOOD // IN_ONE_TRANSACTION):
                first = number * IN_ONE_TRANSACTION
                connection.execute(
                    f"SELECT count(pg_notify('apphooks', {kinds[number % len(kinds)]})) "
                    f"FROM generate_series({first + 1}, {first + IN_ONE_TRANSACTION}) AS i"
                )
                if number % 20 == 10:
                    move_by_sql(database, "news", f"news-{number}")
                    # Not at once, behind so much: but soon.
                    fleet.wait_for(f"/en/news-{number}/first-story/")
                    fleet.wait_for("/en/news/first-story/", 404)
        # The last change comes behind all of it.
        move_by_sql(database, "news", "after-the-flood")
        fleet.wait_for("/en/after-the-flood/first-story/")
    finally:
        flooded.set()
        asker.join(60)
    seconds = time.monotonic() - began
    looks = database.looks()
    grown = [resident_mebibytes(pid) - before for pid, before in memory.items()]
    print(
        f"{FLOOD:,} notifications in {seconds:.1f} s, {answers.total()} requests beside them, "
        f"{looks} looks at the token, memory {', '.join(f'{n:+.1f} MiB' for n in grown)}"
    )
    assert set(answers) == {("/de/termine/summer-party/", 200), ("/en/nowhere/", 404)}
    assert looks <= len(fleet.workers) * (HINTS_BURST + HINTS_RATE * seconds + 20)
    wait_until(lambda: len(database.fleet()) == 2, 30, "both to listen")
    fleet.wait_for_push()
    assert "Traceback" not in fleet.log


def test_looks_at_the_token_are_bounded__however_often_somebody_asks(
    database: Database, stranger: str, tmp_path: Path
) -> None:
    env = environment(database.dsn, "tests.e2e.controls", HEARTBEAT_INTERVAL=600)
    enough, asked = threading.Event(), 0
    log = tmp_path / "process.log"
    with LineProcess(log, env, "-m", "tests.e2e.status_lines") as process:
        wait_until(lambda: '"mode": "push"' in process.ask("status"), 20, "push")

        def notify() -> None:
            with psycopg.connect(stranger, autocommit=True) as connection:
                while not enough.is_set():
                    connection.execute("SELECT pg_notify('apphooks', 'rubbish')")

        flood = threading.Thread(target=notify)
        flood.start()
        database.forget_statements()
        began = time.monotonic()
        try:
            while time.monotonic() < began + 5:
                assert process.ask("news:story-list") == "/en/news/"
                asked += 1
        finally:
            enough.set()
            flood.join(30)
        seconds = time.monotonic() - began
        looks = database.looks()
        heard = json.loads(process.ask("status"))["notifications"]
        process.end()
    print(f"{looks} looks in {seconds:.1f} s: {asked:,} times asked, {heard:,} notifications")
    bound = HINTS_BURST + HINTS_RATE * seconds + 5
    assert looks <= bound
    # Else nothing was shown.
    assert min(asked, heard) > bound
