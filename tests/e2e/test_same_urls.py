"""Two processes at one state of the database have the same URLs, whatever each has seen before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.demo.site import ROOT
from tests.e2e.conftest import Database
from tests.e2e.describing import APPHOOKS

#: What the arguments of a process are, and its environment.
HISTORIES: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "none": ((), {}),
    "one page after the other": (("news", "events"), {}),
    "the other way round": (("events", "news"), {}),
    "built by django CMS before any app was ready": ((), {"MEMBERS_EARLY": "1"}),
    "with this package before django CMS": ((), {"MEMBERS_BEFORE_CMS": "1"}),
}


def describe(database: Database, arguments: tuple[str, ...], env: dict[str, str]) -> Any:
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.e2e.describing", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.e2e.members_settings",
            "DEMO_DATABASE_URL": database.dsn,
            **env,
        },
        check=False,
    )
    assert answer.returncode == 0, answer.stderr[-4000:]
    return json.loads(answer.stdout)


@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES)
def test_urls__are_what_django_cms_makes_of_each_page_alone(
    history: Any, database: Database
) -> None:
    expected: dict[str, Any] = {}
    for page, apphook in APPHOOKS.items():
        # A process of django CMS that has not come across the other apphook.
        attach(database, dict.fromkeys(APPHOOKS, apphook))
        found = describe(database, (), {"DEMO_RELOAD": "none"})
        roots = {"news": ("/en/news/", "/de/neues/"), "events": ("/en/events/", "/de/termine/")}
        expected |= {path: to for path, to in found.items() if path.startswith(roots[page])}
    arguments, env = history
    attach(database, {key: "" if arguments else apphook for key, apphook in APPHOOKS.items()})
    assert describe(database, arguments, env) == expected
    assert [kwargs for _, kwargs in expected.values()].count({"section": "one"}) == 4


def attach(database: Database, apphooks: dict[str, str]) -> None:
    for key, apphook in apphooks.items():
        database.sql(
            "UPDATE cms_page SET application_urls = %s, application_namespace = %s WHERE id = %s",
            apphook,
            key,
            database.pages[key]["id"],
        )
