"""Django's test runner, which also writes what came of each test: a JSON object in the file that
CMS_SUITE_RECORD names. Runs in the environment of django CMS's suite."""

from __future__ import annotations

import json
import os
import unittest
from pathlib import Path
from typing import Any

from django.test.runner import DiscoverRunner


class RecordingResult(unittest.TextTestResult):
    """Keeps the outcome of each test by its id: "passed", "skipped" or "failed"."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.outcomes: dict[str, str] = {}

    def _record(self, test: Any, outcome: str) -> None:
        # A test that failed may still be skipped or end well in a later part.
        if self.outcomes.get(test.id()) != "failed":
            self.outcomes[test.id()] = outcome

    def addSuccess(self, test: Any) -> None:
        super().addSuccess(test)
        self._record(test, "passed")

    def addExpectedFailure(self, test: Any, err: Any) -> None:
        super().addExpectedFailure(test, err)
        self._record(test, "passed")

    def addSkip(self, test: Any, reason: str) -> None:
        super().addSkip(test, reason)
        self._record(test, "skipped")

    def addFailure(self, test: Any, err: Any) -> None:
        super().addFailure(test, err)
        self._record(test, "failed")

    def addError(self, test: Any, err: Any) -> None:
        super().addError(test, err)
        self._record(test, "failed")

    def addUnexpectedSuccess(self, test: Any) -> None:
        super().addUnexpectedSuccess(test)
        self._record(test, "failed")

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._record(test, "failed")

    def stopTestRun(self) -> None:
        super().stopTestRun()
        Path(os.environ["CMS_SUITE_RECORD"]).write_text(json.dumps(self.outcomes, indent=1))


class RecordingRunner(DiscoverRunner):
    """With ``--parallel`` too: what the processes report is replayed on the one result."""

    def get_resultclass(self) -> type[RecordingResult]:
        return RecordingResult
