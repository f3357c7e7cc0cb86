"""Runs django CMS's own tests twice, without and with this package, and compares them one by one:
``python -m tests.cms_suite [--database NAME] [--reuse] [--tests LABEL ...]``.

A test that passes without this package, and not with it, is a failure. The tests are in the source
archive of django CMS and not in its wheel; pip brings the archive.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.matrix import (
    MATRIX,
    ROOT,
    Environment,
    FailedError,
    MissingError,
    interpreter,
    make_environment,
)
from tests.support.postgres import PostgresError, provide_server

#: The version whose suite this is, and how many tests it has.
CMS, TESTS = "5.1.3", 1852
#: Not Python 3.12: in 3.12.1, Django's parallel runner takes one skipped test for another.
DJANGO, PYTHON = "5.2", "3.13"
#: Where the archive, the records and the logs are.
PLACE = MATRIX / f"cms-suite-{CMS}"
SOURCE = PLACE / f"django_cms-{CMS}"
LABELS = ("cms", "menus")
#: A run takes a minute or two.
TIMEOUT = 1800

Outcomes = Mapping[str, str]


@dataclass(frozen=True)
class Run:
    """One run of the suite: on a database, without or with this package; "part" for some tests."""

    database: str
    package: bool
    part: bool = False

    @property
    def name(self) -> str:
        """What people and files call it."""
        name = f"{self.database}-{'with' if self.package else 'without'}"
        return f"{name}-part" if self.part else name

    @property
    def log(self) -> Path:
        """What the runner printed."""
        return PLACE / f"{self.name}.log"

    @property
    def record(self) -> Path:
        """What came of each test."""
        return PLACE / f"{self.name}.json"


def fetch_source() -> None:
    """Have the source of django CMS, tests included.

    :raises FailedError: if pip cannot bring it.
    """
    if SOURCE.exists():
        return
    PLACE.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command = [*pip, "--no-deps", "--no-binary", "django-cms", "--dest", str(PLACE)]
    answer = subprocess.run(
        [*command, f"django-cms=={CMS}"], capture_output=True, text=True, check=False
    )
    if answer.returncode:
        raise FailedError(f"pip could not download django CMS {CMS}:\n{answer.stderr}")
    unpacked = PLACE / "unpacked"
    with tarfile.open(PLACE / f"{SOURCE.name}.tar.gz") as archive:
        archive.extractall(unpacked, filter="data")
    # At last, so that an archive that was unpacked in part is not taken for a whole one.
    (unpacked / SOURCE.name).rename(SOURCE)


def environment() -> Environment:
    """Return the environment that the suite runs in: what django CMS's tests ask for, and this."""
    lines = (SOURCE / "test_requirements" / "requirements_base.txt").read_text().splitlines()
    wanted = (line.partition("#")[0].strip() for line in lines)
    return Environment(
        "cms-suite",
        PYTHON,
        (
            *("--editable", str(SOURCE)),
            *("--editable", f"{ROOT}[postgres]"),
            *(line for line in wanted if line and line != "-e ."),
            f"Django=={DJANGO}.*",
            "packaging",
            "psycopg[binary]",
            "tblib",  # Django's runner sends failures from process to process by it
        ),
    )


@contextlib.contextmanager
def database_url(database: str) -> Iterator[str]:
    """Give the address of a database that Django makes its test database beside."""
    if database == "sqlite":
        yield "sqlite://:memory:"
        return
    with provide_server() as server:
        print(f"  {server.description}", flush=True)
        yield server.dsn(f"cms_suite_{os.getpid()}")


def run_suite(run: Run, url: str, parallel: int, labels: Sequence[str]) -> Outcomes:
    """Run the suite once; return what came of each test.

    :raises FailedError: if it did not come to its end.
    """
    run.record.unlink(missing_ok=True)
    environ = {
        **os.environ,
        "CMS_SUITE_PACKAGE": "1" if run.package else "",
        "CMS_SUITE_RECORD": str(run.record),
        "DATABASE_URL": url,
        "DJANGO_SETTINGS_MODULE": "tests.cms_suite.settings",
        "PYTHONPATH": str(ROOT),
    }
    command = [str(interpreter(environment())), "manage.py", "test", "--noinput"]
    start = time.monotonic()
    with run.log.open("w") as log, contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(
            [*command, f"--parallel={parallel}", *labels],
            cwd=SOURCE,
            env=environ,
            stdout=log,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT,
            check=False,  # tests may fail in both
        )
    if not run.record.exists():
        end = "\n".join(run.log.read_text().splitlines()[-30:])
        raise FailedError(f"{run.name} did not come to its end; {run.log} ends with:\n{end}")
    outcomes: Outcomes = json.loads(run.record.read_text())
    print(f"  {run.name}: {count(outcomes)} ({time.monotonic() - start:.0f} s)", flush=True)
    return outcomes


def count(outcomes: Outcomes) -> str:
    """Return the numbers, for people."""
    numbers = Counter(outcomes.values())
    kinds = ("passed", "skipped", "failed")
    parts = [f"{numbers[kind]} {kind}" for kind in kinds if numbers[kind]]
    return f"{len(outcomes)} tests: {', '.join(parts) or 'none'}"


def worse(without: Outcomes, with_package: Outcomes) -> list[str]:
    """Return the tests that pass without this package only, or fail with it only."""
    return sorted(
        test
        for test in {**without, **with_package}
        if with_package.get(test) != without.get(test)
        and (without.get(test) == "passed" or with_package.get(test) == "failed")
    )


def compare(database: str, options: argparse.Namespace) -> tuple[Outcomes, list[str]]:
    """Run the suite without and with this package on one database; return what came of the tests
    with it, and those that are worse.

    :raises FailedError: if a run did not come to its end, or if tests are missing.
    """
    labels, part = options.tests or LABELS, bool(options.tests)
    before, after = (Run(database, package, part) for package in (False, True))
    with database_url(database) as url:
        if options.reuse and before.record.exists():
            without: Outcomes = json.loads(before.record.read_text())
            print(f"  {before.name}, of an earlier run: {count(without)}", flush=True)
        else:
            without = run_suite(before, url, options.parallel, labels)
        if not part and len(without) != TESTS:
            raise FailedError(f"django CMS {CMS} has {TESTS} tests; {len(without)} were found.")
        found = run_suite(after, url, options.parallel, labels)
    lost = worse(without, found)
    for test in lost:
        print(f"  WORSE {test}; see {after.log.relative_to(ROOT)}", flush=True)
    return found, lost


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.cms_suite", description=__doc__)
    databases = ("sqlite", "postgresql")
    parser.add_argument("--database", action="append", choices=databases, help="this one alone")
    parser.add_argument(
        "--reuse", action="store_true", help="do not repeat a run without this package"
    )
    parser.add_argument("--parallel", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--tests", nargs="+", metavar="LABEL", help="these tests, as Django's")
    options = parser.parse_args(arguments)
    if options.reuse and options.tests:
        parser.error("--reuse is for all tests")
    start = time.monotonic()
    total: Counter[str] = Counter()
    failed: list[str] = []
    try:
        print(f"django CMS {CMS} on Django {DJANGO}; see {PLACE.relative_to(ROOT)}", flush=True)
        fetch_source()
        make_environment(environment())
        for database in options.database or databases:
            outcomes, lost = compare(database, options)
            total += Counter(outcomes.values())
            failed += lost
    except (FailedError, MissingError, PostgresError) as error:
        print(error)
        failed.append(str(error))
    closing = f"{len(failed)} worse with cms_urlreload, {total['passed']} passed, "
    closing += f"{total['skipped']} skipped in {time.monotonic() - start:.0f}s"
    print(f" {closing} ".center(80, "="))
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
