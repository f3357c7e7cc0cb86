"""``python -m tests.e2e.coverage_table [postgresql|sqlite|mariadb]``: every way in which apphook
URLs change, and whether the other processes follow: with django CMS's own middleware, and with
this package. Measured, each on a database and a site of its own.

Exits with 1 if this package misses a way.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import django

from tests.e2e.ways import DATABASES, MARIADB, POSTGRESQL, SQLITE, Way, impossible, possible
from tests.support import mariadb
from tests.support.postgres import create_database, drop_database, provide_server

if TYPE_CHECKING:
    from tests.e2e.stage import Outcome, Reload

#: Longest time, in seconds, that the workers may take.
PATIENCE = 3.0

LEGEND = f"""
yes          All workers answer with the new URLs and not with the old, within {PATIENCE:g} s of the change.
late         Not within {PATIENCE:g} s, but after the writer's process had answered one more HTTP request,
             which a shell, a command or a task never does.
no           Neither.
-            It changes no routing, and no worker is told to reload.
for nothing  It changes no routing, and the workers are told to reload.
"""  # noqa: E501


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.coverage_table", description=__doc__)
    parser.add_argument("database", nargs="?", choices=DATABASES, default=POSTGRESQL)
    parser.add_argument("--only", default="", help="ways whose id has this in it")
    options = parser.parse_args(arguments)
    kind: str = options.database
    if kind == MARIADB and (reason := mariadb.missing()):
        sys.stderr.write(f"There is {reason}.\n")
        return 1
    ways = [way for way in possible(kind) if options.only in way.id]
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cms-urlreload-ways-") as directory:
        run_dir = Path(directory)
        run_dir.chmod(0o755)
        with _databases(kind, run_dir) as urls:
            _set_up(urls[0])
            core = _measure(urls[0], run_dir / "core", ways, "core")
            ours = _measure(urls[1], run_dir / "ours", ways, "ours")
    if not options.only and not any(
        outcome.verdict == "yes"
        for way, outcome in zip(ways, core, strict=True)
        if not way.is_quiet
    ):
        sys.stderr.write("django CMS's middleware followed no way at all: it is not at work.\n")
        return 1
    _report(kind, ways, core, ours)
    print(f"\nMeasured in {time.monotonic() - started:.0f} s.")
    return int(any(outcome.verdict != "yes" for outcome in ours))


@contextlib.contextmanager
def _databases(kind: str, run_dir: Path) -> Iterator[tuple[str, str]]:
    """The URLs of two empty databases."""
    names = [f"cms_urlreload_ways_{os.getpid()}_{n}" for n in (1, 2)]
    if kind == SQLITE:
        yield f"sqlite:///{run_dir / names[0]}", f"sqlite:///{run_dir / names[1]}"
    elif kind == MARIADB:
        with mariadb.MariaDBServer() as mariadb_server:
            first, second = (mariadb_server.create_database(name) for name in names)
            yield first, second
    else:
        with provide_server() as server, contextlib.ExitStack() as stack:
            for name in names:
                stack.callback(drop_database, server.dsn(), name)
            first, second = (create_database(server.dsn(), name) for name in names)
            yield first, second


def _set_up(url: str) -> None:
    """What the stage is made of imports models."""
    os.environ["DEMO_DATABASE_URL"] = url
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.demo.settings"
    django.setup()


def _measure(url: str, run_dir: Path, ways: Sequence[Way], reload: Reload) -> list[Outcome]:
    from tests.e2e.stage import open_stage

    run_dir.mkdir()
    outcomes = []
    with open_stage(url, run_dir, ways, reload=reload) as stage:
        for number, way in enumerate(ways, 1):
            _progress(f"{reload}: {number} of {len(ways)}: {way.title}")
            outcomes.append(stage.go(way, PATIENCE))
    _progress("")
    return outcomes


def _report(
    kind: str, ways: Sequence[Way], core: Sequence[Outcome], ours: Sequence[Outcome]
) -> None:
    rows = [("way", "core", "this package")]
    for way, theirs, own in zip(ways, core, ours, strict=True):
        rows.append((way.title, _word(way, theirs), _word(way, own)))
    widths = [max(len(row[place]) for row in rows) for place in range(2)]
    lines = [f"{row[0]:{widths[0]}}  {row[1]:{widths[1]}}  {row[2]}" for row in rows]
    rule = "-" * max(map(len, lines))
    print("\n".join([f"Database: {kind}, 2 workers\n", lines[0], rule, *lines[1:], rule]))
    changes = [n for n, way in enumerate(ways) if not way.is_quiet]
    followed = [sum(side[n].verdict == "yes" for n in changes) for side in (core, ours)]
    print(
        f"{f'Followed, of {len(changes)}':{widths[0]}}  {followed[0]:<{widths[1]}}  {followed[1]}"
    )
    for title, reason in impossible(kind).items():
        print(f"\nNot possible here: {title}: {reason}.")
    print(LEGEND.rstrip())
    for way, outcome in zip(ways, ours, strict=True):
        if outcome.verdict != "yes":
            print("\n".join([f"\nThis package misses: {way.title}", *outcome.wrong]))


def _word(way: Way, outcome: Outcome) -> str:
    if way.is_quiet:
        return "-" if outcome.verdict == "yes" else "for nothing"
    return outcome.verdict


def _progress(text: str) -> None:
    """One line that is written over, for people only."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
