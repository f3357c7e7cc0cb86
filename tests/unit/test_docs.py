"""docs/checks.md has what the code has, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    path.read_text()
    for app in ("cms_urlreload", "cms_urlreload_pg")
    for path in ROOT.glob(f"{app}/*.py")
]


def rows(heading: str) -> list[list[str]]:
    """The rows of the table below a heading of docs/checks.md."""
    text = (ROOT / "docs" / "checks.md").read_text()
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def code(pattern: str) -> set[str]:
    return {each for source in SOURCES for each in re.findall(pattern, source)}


def test_each_check_is_in_the_table__with_its_remedy() -> None:
    documented = [*rows("`cms_urlreload`"), *rows("`cms_urlreload_pg`")]
    ids = [row[0].strip("`") for row in documented]
    assert sorted(ids) == sorted(code(r'\bid="(cms_urlreload\w*\.[EIW]\d{3})"'))
    assert all(what and remedy for _, what, remedy in documented)


def test_ids_are_in_sequence() -> None:
    for app in ("cms_urlreload", "cms_urlreload_pg"):
        numbers = sorted(int(each) for each in code(rf'\bid="{app}\.[EIW](\d{{3}})"'))
        assert numbers == list(range(1, len(numbers) + 1))


def test_each_line_of_the_doctor_is_in_the_table() -> None:
    documented = set(re.findall(r"`(\w+)`", " ".join(row[0] for row in rows(DOCTOR))))
    assert documented == code(r'Finding\(\s*"(\w+)"')


DOCTOR = "The lines of `urlreload doctor`"
