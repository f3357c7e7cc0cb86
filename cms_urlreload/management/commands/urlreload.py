"""``manage.py urlreload``: what all workers serve, and what can be done about it."""

from __future__ import annotations

import json
import sys
import threading
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from django.core.management.base import BaseCommand
from django.db import Error as DatabaseError

from cms_urlreload.fleet import Worker
from cms_urlreload.report import (
    FleetReport,
    examine,
    reload_all,
    report_fleet,
    report_urlconfs,
)

ALL_KNOW, SOME_DO_NOT, CANNOT_TELL = 0, 1, 2
_CODES = {True: ALL_KNOW, False: SOME_DO_NOT, None: CANNOT_TELL}

#: Seconds between two looks, while something is watched.
LOOK_EVERY = 0.5


class Command(BaseCommand):
    """The command."""

    help = "Shows which apphook URLs each worker serves, reloads them, and finds what is wrong."
    # "doctor" is there to tell of what the checks find.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the four subcommands."""
        commands = parser.add_subparsers(dest="command", required=True)
        status = commands.add_parser(
            "status",
            help="who serves what; exit code 0: all are current, 1: not, 2: it cannot be told",
        )
        status.add_argument("--json", action="store_true", help="for a program to read")
        reload = commands.add_parser("reload", help="have every worker build its URLs anew")
        reload.add_argument(
            "--wait",
            type=float,
            metavar="SECONDS",
            help="until every worker knows; exit code 1 if one does not in time",
        )
        commands.add_parser("watch", help="what happens to the workers, until Ctrl-C")
        commands.add_parser("doctor", help="what is wrong, and what to do; exit code 1 if anything")

    def handle(self, *args: Any, command: str, **options: Any) -> None:
        """Run one of them.

        :raises SystemExit: with the exit code, unless it is 0.
        """
        run: dict[str, Callable[..., int]] = {
            "status": self.status,
            "reload": self.reload,
            "watch": self.watch,
            "doctor": self.doctor,
        }
        try:
            code = run[command](**options)
        except DatabaseError as error:
            self.stderr.write(f"The database cannot answer: {' '.join(str(error).split())}")
            code = CANNOT_TELL
        if code:
            sys.exit(code)

    def _write(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.stdout.write(line)

    def status(self, *, json: bool, **options: Any) -> int:
        """Show the workers."""
        report = report_fleet()
        urlconfs = report_urlconfs()
        if json:
            self.stdout.write(_as_json(report, urlconfs))
        else:
            self._write(_as_lines(report))
            self._write(urlconfs)
        return _CODES[report.all_know]

    def reload(self, *, wait: float | None, **options: Any) -> int:
        """Have all workers build anew, and perhaps wait until they know."""
        reload_all()
        self.stdout.write("Announced: every worker builds its URLs anew before its next answer.")
        if wait is None:
            return ALL_KNOW
        deadline = time.monotonic() + wait
        said = ""
        while True:
            report = report_fleet()
            if report.workers is None:
                self.stdout.write(_NOBODY_KNOWN.format(report.vendor))
                return CANNOT_TELL
            know = len(report.workers) - len(report.behind)
            line = f"{know} of {len(report.workers)} workers know."
            if line != said:
                said = line
                self.stdout.write(line)
            if not report.behind:
                return ALL_KNOW
            if time.monotonic() >= deadline:
                self.stdout.write(f"After {wait:g} seconds, these do not:")
                self._write(f"  {worker.host} {worker.pid}" for worker in report.behind)
                return SOME_DO_NOT
            _wait(min(LOOK_EVERY, max(0.0, deadline - time.monotonic())))

    def watch(self, **options: Any) -> int:
        """Tell what changes, line by line."""
        before: FleetReport | None = None
        try:
            while True:
                report = report_fleet()
                if report.workers is None:
                    self.stdout.write(_NOBODY_KNOWN.format(report.vendor))
                    return CANNOT_TELL
                for line in _differences(before, report):
                    self.stdout.write(f"{time.strftime('%H:%M:%S')}  {line}")
                self.stdout.flush()
                before = report
                _wait(LOOK_EVERY)
        except KeyboardInterrupt:
            return ALL_KNOW

    def doctor(self, **options: Any) -> int:
        """Tell what is right and what is not."""
        wrong = 0
        for finding in examine():
            mark = self.style.SUCCESS("ok   ") if finding.is_good else self.style.ERROR("WRONG")
            self.stdout.write(f"{mark}  {finding.what}: {finding.text}")
            if finding.remedy and not finding.is_good:
                self.stdout.write(f"       {finding.remedy}")
            wrong += not finding.is_good
        return SOME_DO_NOT if wrong else ALL_KNOW


def _wait(seconds: float) -> None:
    threading.Event().wait(seconds)


_NOBODY_KNOWN = (
    "Nothing pushes from {} here: each process asks the database by itself, and who they are is "
    "not known."
)
_HEADINGS = ("host", "pid", "serves", "told since", "")


def _as_lines(report: FleetReport) -> Iterator[str]:
    yield f"In the database: {report.token.short}"
    if report.workers is None:
        yield _NOBODY_KNOWN.format(report.vendor)
        return
    rows = [_HEADINGS, *(_row(worker, report) for worker in report.workers)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    behind = len(report.behind)
    if not report.workers:
        yield "No worker is told of changes. One is, from its first request on; or see 'doctor'."
    else:
        yield f"{len(report.workers)} workers are told of changes, {behind or 'none'} behind."


def _row(worker: Worker, report: FleetReport) -> tuple[str, ...]:
    since = worker.since.strftime("%Y-%m-%d %H:%M:%S %Z") if worker.since else "(not shown)"
    return (worker.host, str(worker.pid), worker.served or "-", since, _state(worker, report))


def _state(worker: Worker, report: FleetReport) -> str:
    if worker.is_current(report.token):
        return "current"
    return "current at its next request" if worker.knows(report.token) else "BEHIND"


def _as_json(report: FleetReport, urlconfs: Sequence[str]) -> str:
    workers = None if report.workers is None else [_as_data(w, report) for w in report.workers]
    whole = {
        "token": report.token.short,
        "workers": workers,
        "all_know": report.all_know,
        "urlconfs": urlconfs,
    }
    return json.dumps(whole, indent=2)


def _as_data(worker: Worker, report: FleetReport) -> dict[str, Any]:
    return {
        "host": worker.host,
        "pid": worker.pid,
        "served": worker.served,
        "current": worker.is_current(report.token),
        "knows": worker.knows(report.token),
        "since": worker.since.isoformat() if worker.since else None,
    }


def _differences(before: FleetReport | None, after: FleetReport) -> Iterator[str]:
    if before is None or before.token != after.token:
        yield f"in the database: {after.token.short}"
    old = {(w.host, w.pid): w for w in (before.workers or ())} if before else {}
    new = {(w.host, w.pid): w for w in after.workers or ()}
    for key in old.keys() - new.keys():
        yield f"{key[0]} {key[1]} is told of nothing any more"
    for key, worker in new.items():
        known = old.get(key)
        state = f"{worker.served or '-'}, {_state(worker, after)}"
        if known is None:
            yield f"{key[0]} {key[1]} is told of changes; serves {state}"
        elif before is not None and state != f"{known.served or '-'}, {_state(known, before)}":
            yield f"{key[0]} {key[1]} serves {state}"
