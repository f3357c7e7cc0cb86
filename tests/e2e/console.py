"""``python -m tests.e2e.console``: a shell of the site that stays open, and answers no HTTP.

It reads a line of JSON, executes the code in it, and answers with a line of JSON; each code in
names of its own. A new process for each would take a second and a half.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tests.demo.site import ROOT, DemoSite

if TYPE_CHECKING:
    from typing_extensions import Self

PRELUDE = """
import json, os
from cms.api import create_page, create_page_content
from cms.models import Page, PageContent, PageUrl
from django.contrib.sites.models import Site
from django.core import serializers
from django.db import transaction
result = None
"""


class ConsoleError(RuntimeError):
    """The code raised; the message has the traceback."""


class Console:
    """The open shell, seen from the process that types into it; a context manager.

    ``env`` wins over the environment of the site's own processes.
    """

    def __init__(self, site: DemoSite, env: Mapping[str, str] | None = None) -> None:
        self._site = site
        self._env = {**site.environment, **(env or {})}
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        with (self._site.run_dir / "console.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.e2e.console"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=ROOT,
                env=self._env,
            )
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is not None:
            # It ends at the end of its input.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.communicate(timeout=10)
            self._process.kill()
            self._process.wait(10)

    def run(self, code: str, timeout: float = 60.0, **names: Any) -> Any:
        """Execute code that may use ``names`` and the models; return its ``result``."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        # Whatever hangs in there must not hang here.
        watchdog = threading.Timer(timeout, process.kill)
        watchdog.start()
        try:
            process.stdin.write(json.dumps([code, names]) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        finally:
            watchdog.cancel()
            watchdog.join()
        if not line:
            raise ConsoleError(f"the console ended, or took more than {timeout:g} s, in: {code}")
        error, result = json.loads(line)
        if error:
            raise ConsoleError(error)
        return result


def main() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # what the code prints is no answer
    import django

    django.setup()
    for line in sys.stdin:
        code, names = json.loads(line)
        error = ""
        try:
            exec(PRELUDE, names)
            exec(code, names)
        except Exception:
            error = traceback.format_exc()
        answers.write(json.dumps([error, names.get("result")]) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
