"""Each form in which a urlconf mounts ``cms.urls``: after each change of the pages a process that
refreshes answers as one does that has just started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.demo.site import ROOT
from tests.forms.catalogue import FORMS
from tests.support.versions import URLS_READ_DATABASE_AT_IMPORT

Ask = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Ask the driver for a form; each is in processes of its own."""
    log = tmp_path_factory.mktemp("forms") / "driver.log"
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "DJANGO_SETTINGS_MODULE": "tests.forms.settings",
        "DEMO_DATABASE_URL": "sqlite:///nothing",
    }
    with log.open("wb") as file:
        driver = subprocess.Popen(
            [sys.executable, "-m", "tests.forms.driver"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            cwd=ROOT,
            env=environment,
            text=True,
        )
    assert driver.stdin is not None
    assert driver.stdout is not None

    def ask(form: str) -> dict[str, Any]:
        driver.stdin.write(f"{form}\n")  # type: ignore[union-attr]
        driver.stdin.flush()  # type: ignore[union-attr]
        line = driver.stdout.readline()  # type: ignore[union-attr]
        assert line, Path(log).read_text()
        answer: dict[str, Any] = json.loads(line)
        assert "traceback" not in answer, answer["traceback"]
        return answer

    with driver:
        yield ask
        driver.stdin.close()


@pytest.mark.parametrize("name", FORMS)
def test_form__is_answered_as_by_a_new_process(name: str, ask: Ask) -> None:
    form = FORMS[name]
    for history, steps in ask(name).items():
        for step in steps:
            where = f"{history}: {step['step']}"
            expected, found = step["expected"], step["found"]
            differing = {
                key: (expected[key], found[key]) for key in expected if expected[key] != found[key]
            }
            assert not differing, where
            place = {"news": "news", "events": "events", "move": "moved"}.get(step["step"])
            if place:
                assert found[f"None user /{place}/"][0] == 200, where
                visitor = 302 if form.has_login else 200
                assert found[f"None anonymous /{place}/"][0] == visitor, where
        if form.is_followed and not URLS_READ_DATABASE_AT_IMPORT:
            # No module is executed a second time.
            assert len(steps[-1]["imports"]) == len(set(steps[-1]["imports"]))
