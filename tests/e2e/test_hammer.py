"""Threads that reverse while the URLs are reloaded: ours, and django CMS's beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from tests.demo.site import ROOT


def hammer(database: Any, reload: str, *arguments: str) -> Any:
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.e2e.hammer", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.demo.settings",
            "DEMO_DATABASE_URL": database.dsn,
            "DEMO_RELOAD": reload,
        },
        check=False,
    )
    assert answer.returncode == 0, answer.stderr[-4000:]
    return json.loads(answer.stdout)


def test_8_threads_reverse_through_200_reloads_of_50_pages(database: Any) -> None:
    result = hammer(database, "ours")
    print(f"this package: {result}")
    assert result.pop("right") > 10_000
    result.pop("median delay")
    result.pop("longest delay")
    assert result == {
        "NoReverseMatch": 0,
        "wrong URLs": 0,
        "other exceptions": 0,
        "changes not seen in time": 0,
        "examples": [],
    }


def test_control__the_same_with_the_middleware_of_django_cms(database: Any) -> None:
    """To be seen beside it (pytest -s): how many it can, how late, and what goes wrong, if anything
    does. It takes its time, so through fewer reloads."""
    result = hammer(database, "core", "50")
    print(f"django CMS: {result}")
    assert result["right"] > 0
