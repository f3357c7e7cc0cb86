"""The comparison of django CMS's own tests without and with this package."""

from __future__ import annotations

import io
import json
import unittest
from pathlib import Path

import pytest

from tests.cms_suite.__main__ import worse
from tests.cms_suite.runner import RecordingResult


@pytest.mark.parametrize(
    ("without", "with_package", "is_worse"),
    [
        ("passed", "passed", False),
        ("passed", "failed", True),
        ("passed", "skipped", True),
        ("passed", None, True),
        ("failed", "failed", False),
        ("failed", "passed", False),
        ("failed", None, False),
        ("skipped", "skipped", False),
        ("skipped", "failed", True),
        ("skipped", "passed", False),
        (None, "failed", True),  # setUpClass() of a class
        (None, "passed", False),
    ],
)
def test_worse__names_the_test__when_it_was_better(
    without: str | None, with_package: str | None, is_worse: bool
) -> None:
    def outcomes(outcome: str | None) -> dict[str, str]:
        return {} if outcome is None else {"test": outcome}

    assert worse(outcomes(without), outcomes(with_package)) == ["test"] * is_worse


class Every(unittest.TestCase):
    """One of each kind; run by the test below alone."""

    __test__ = False

    def passes(self) -> None: ...

    def fails(self) -> None:
        self.fail()

    def raises(self) -> None:
        raise ZeroDivisionError

    def skips(self) -> None:
        self.skipTest("")

    def fails_in_a_part(self) -> None:
        for number in range(2):
            with self.subTest(number=number):
                assert number

    def skips_after_a_failed_part(self) -> None:
        with self.subTest():
            self.fail()
        self.skipTest("")

    @unittest.expectedFailure
    def fails_as_expected(self) -> None:
        self.fail()

    @unittest.expectedFailure
    def passes_unexpectedly(self) -> None: ...


def test_runner__writes_each_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = tmp_path / "record.json"
    monkeypatch.setenv("CMS_SUITE_RECORD", str(record))
    expected = {
        "passes": "passed",
        "fails": "failed",
        "raises": "failed",
        "skips": "skipped",
        "fails_in_a_part": "failed",
        "skips_after_a_failed_part": "failed",
        "fails_as_expected": "passed",
        "passes_unexpectedly": "failed",
    }
    suite = unittest.TestSuite(map(Every, expected))
    unittest.TextTestRunner(io.StringIO(), resultclass=RecordingResult).run(suite)
    outcomes = json.loads(record.read_text())
    assert {name.rpartition(".")[2]: each for name, each in outcomes.items()} == expected
