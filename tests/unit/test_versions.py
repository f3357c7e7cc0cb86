"""What is supported is said in one place, tests/matrix.py; all others agree with it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from cms_urlreload_pg.driver import REQUIRED
from tests.matrix import (
    MATRIX,
    PG_BIN,
    ROOT,
    STACKS,
    STEPS,
    Environment,
    Row,
    Stack,
    find_interpreter,
    main,
    table,
)
from tests.matrix import MissingError as Missing

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it


@pytest.fixture(scope="module")
def project() -> Any:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def of(attribute: str) -> set[str]:
    return {getattr(stack, attribute) for stack in STACKS}


def numbers(series: str) -> tuple[int, ...]:
    return tuple(int(number) for number in series.split("."))


def after(series: str) -> str:
    """The series that comes next: 5.3 after 5.2."""
    first, second = numbers(series)
    return f"{first}.{second + 1}"


def test_the_readme_lists_each_stack() -> None:
    section = (ROOT / "README.md").read_text().partition("## Versions")[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if re.match(r"\| \d", line)
    ]
    assert rows == [list(stack.columns[1:]) for stack in STACKS]


@pytest.mark.parametrize(
    ("prefix", "attribute"),
    [
        ("Framework :: Django ::", "django"),
        ("Framework :: Django CMS ::", "cms"),
        ("Programming Language :: Python ::", "python"),
    ],
)
def test_the_classifiers_are_what_is_tested(prefix: str, attribute: str, project: Any) -> None:
    series = {
        each.removeprefix(prefix).strip() for each in project["classifiers"] if prefix in each
    }
    assert series - {"3 :: Only"} == of(attribute)


class TestWorkflow:
    """What runs on each push is what is supported, by the commands that people have."""

    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text()

    def test_it_runs_on_each_python(self) -> None:
        [pythons] = re.findall(r"python: \[(.*)\]", self.text)
        assert set(re.findall(r"[\d.]+", pythons)) == of("python")
        [installed] = re.findall(r"python-version: \|\n((?: +[\d.]+\n)+)", self.text)
        assert set(installed.split()) == of("python")

    def test_it_runs_make_and_nothing_else(self) -> None:
        targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.M))
        commands = re.findall(r"run: (\w.*)", self.text)
        asked = {command.split()[1] for command in commands}
        assert {command.split()[0] for command in commands} == {"make"}
        assert {"build", "cms-suite", "lint", "matrix", "test"} == asked <= targets

    def test_it_uses_nobody_elses_code(self) -> None:
        used = {name.partition("@")[0] for name in re.findall(r"uses: (\S+)", self.text)}
        assert used == {"actions/checkout", "actions/setup-python"}


@pytest.mark.parametrize(("name", "attribute"), [("Django", "django"), ("django-cms", "cms")])
def test_the_ranges_end_where_the_tests_do(name: str, attribute: str, project: Any) -> None:
    """From the oldest to the newest that is tested: nobody gets a version that was not."""
    requirements = {each.name: each.specifier for each in map(Requirement, project["dependencies"])}
    oldest, *_, newest = sorted(of(attribute), key=numbers)
    assert requirements[name] == SpecifierSet(f">={oldest},<{after(newest)}")


def test_python_begins_where_the_tests_do(project: Any) -> None:
    assert project["requires-python"] == f">={min(of('python'), key=numbers)}"


def test_psycopg_begins_where_the_tests_do(project: Any) -> None:
    oldest = ".".join(map(str, REQUIRED))
    assert project["optional-dependencies"]["postgres"] == [f"psycopg>={oldest}"]
    assert f"=={oldest}" in of("psycopg")
    assert "" in of("psycopg")


def test_each_row_has_a_name_and_a_server() -> None:
    rows: list[Row] = [*STACKS, *STEPS]
    assert len({row.name for row in rows}) == len(rows)
    assert {row.postgres for row in rows} <= set(PG_BIN)


def test_rows_share_an_environment__only_when_it_is_the_same() -> None:
    environments: dict[Path, Environment] = {}
    for row in (*STACKS, *STEPS):
        for environment in row.environments:
            assert environments.setdefault(environment.path, environment) == environment
            assert environment.path.parent == MATRIX


def test_what_a_row_runs_is_there() -> None:
    paths = [path for row in (*STACKS, *STEPS) for path in row.tests if path.startswith("tests/")]
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []
    # What is left out has a name that begins so.
    for row in STACKS:
        for argument in row.tests:
            if argument.startswith("--deselect="):
                file, _, test = argument.removeprefix("--deselect=").partition("::")
                assert f"def {test.partition('[')[0]}" in (ROOT / file).read_text()


def test_an_interpreter_that_is_missing__is_named() -> None:
    with pytest.raises(Missing, match=r"no Python 3\.99"):
        find_interpreter("3.99")


@pytest.mark.parametrize(("required", "code"), [("", 0), ("1", 1)])
def test_what_is_missing__fails_a_run_that_requires_everything(
    required: str, code: int, monkeypatch: Any, capsys: Any, tmp_path: Path
) -> None:
    monkeypatch.setattr("tests.matrix.MATRIX", tmp_path)
    stack = Stack("none", "5.1", "5.2", "3.99", "", "18")
    monkeypatch.setattr("tests.matrix.STACKS", (stack,))
    monkeypatch.setattr("tests.matrix.STEPS", ())
    monkeypatch.setenv("CMS_URLRELOAD_TEST_ALL", required)
    assert main([]) == code
    assert "missing  no Python 3.99" in capsys.readouterr().out


def test_table__has_a_line_for_each_result() -> None:
    assert len(table([]).splitlines()) == 2
