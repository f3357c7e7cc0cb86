"""``python -m tests.demo``: shows the main job on a real site, or leaves the site running.

Needs no PostgreSQL, no Docker and no settings; everything it starts and writes is gone at its end.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

import psycopg

from tests.demo.driver import CORES, OURS, Driver, Outcome
from tests.demo.editor import EditorError
from tests.demo.site import DemoSite, SiteError
from tests.support.postgres import (
    PostgresError,
    create_database,
    drop_database,
    provide_server,
)

RELOADERS = {
    "ours": "django-cms-urlreload",
    "core": "core's ApphookReloadMiddleware",
    "none": "no reload at all",
}
UNCHANGED_REQUESTS = 400


class Interrupted(Exception):  # noqa: N818 - not an error
    """Ctrl-C or SIGTERM: clean up and go."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.exit_code = 128 + signum


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    try:
        with _interruptible():
            return _run(options)
    except Interrupted as interrupted:
        _say("Stopped; everything is cleaned up.")
        return interrupted.exit_code
    except (PostgresError, SiteError, EditorError, TimeoutError, psycopg.Error, OSError) as error:
        sys.stdout.flush()
        sys.stderr.write(f"\nThe demo failed: {error}\n")
        return 1


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.demo", description=__doc__)
    parser.add_argument("command", nargs="?", choices=("run", "serve"), default="run")
    parser.add_argument("--workers", type=_positive, default=4, help="gunicorn workers (4)")
    parser.add_argument("--port", type=int, default=8000, help="port of the site (8000)")
    parser.add_argument("--changes", type=_positive, default=24, help="changes to make (24)")
    parser.add_argument("--keep", action="store_true", help="leave the site running afterwards")
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """The first signal ends the demo; later ones do not disturb its cleaning up."""
    stopping = False

    def on_signal(signum: int, frame: FrameType | None) -> None:
        nonlocal stopping
        if not stopping:
            stopping = True
            raise Interrupted(signum)
        _say("Already cleaning up ...")

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    previous = {signum: signal.signal(signum, on_signal) for signum in signals}
    try:
        yield
    finally:
        for signum, handler in previous.items():
            # Once stopped we are about to exit: a second Ctrl-C must not end that with a traceback.
            signal.signal(signum, signal.SIG_IGN if stopping else handler)


def _run(options: argparse.Namespace) -> int:
    reloader = os.environ.get("DEMO_RELOAD", "ours")
    if reloader not in RELOADERS:
        raise SiteError(f"DEMO_RELOAD must be one of {', '.join(RELOADERS)}, not {reloader!r}.")
    serve_only = options.command == "serve"
    with contextlib.ExitStack() as stack:
        _progress("Starting PostgreSQL ...")
        server = stack.enter_context(provide_server())
        _say(f"Database  {server.description}")
        dsn = stack.enter_context(_own_database(server.dsn()))
        run_dir = stack.enter_context(tempfile.TemporaryDirectory(prefix="cms-urlreload-demo-"))
        _progress("Migrating, creating pages, starting gunicorn ...")
        site = stack.enter_context(_start_site(dsn, Path(run_dir), options, apphooks=serve_only))
        _say(f"Site      {site.address}/en/ with {options.workers} gunicorn workers")
        _say(f"Reload    {RELOADERS[reloader]}")
        code = 0 if serve_only else _demonstrate(site, dsn, options.changes, reloader)
        if serve_only or options.keep:
            _serve(site)
        elif code == 0:
            _say_next()
        return code


@contextlib.contextmanager
def _own_database(admin_dsn: str) -> Iterator[str]:
    """A database for this run only, also on a server that is not ours."""
    name = f"cms_urlreload_demo_{os.getpid()}"
    drop_database(admin_dsn, name)
    try:
        yield create_database(admin_dsn, name)
    finally:
        with contextlib.suppress(psycopg.Error):  # a server that is gone has nothing to drop
            drop_database(admin_dsn, name)


def _start_site(
    dsn: str, run_dir: Path, options: argparse.Namespace, *, apphooks: bool
) -> DemoSite:
    port = options.port
    if not _is_free(port):
        _say(f"Port      {port} is taken; using another")
        port = 0
    return DemoSite(dsn, run_dir, workers=options.workers, port=port, apphooks=apphooks)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As gunicorn does: a port whose last connections are in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
    return True


# --- run -----------------------------------------------------------------------------------------


def _demonstrate(site: DemoSite, dsn: str, changes: int, reloader: str) -> int:
    _say("\nAn editor changes apphooks in the admin; then every worker is asked, each on its own")
    _say("address, for the new URLs (must be 200) and the old ones (must be 404).\n")
    driver = Driver(site, give_up_after=2.0 if reloader == "none" else 10.0)
    driver.warm_up()
    outcomes = []
    for outcome in driver.run(changes):
        outcomes.append(outcome)
        _progress(f"Change {len(outcomes)} of {changes}: {outcome.title}, {_time(outcome)}")
    _say(_table(outcomes))
    passed = not any(outcome.wrong for outcome in outcomes)
    _say(_summary(outcomes, len(site.workers)))
    return 0 if _count_queries(driver, dsn, reloader) and passed else 1


def _count_queries(driver: Driver, dsn: str, reloader: str) -> bool:
    """Count our queries on unchanged requests, core's for comparison. Whether there were none."""
    if reloader == "none":
        return True
    _progress(f"{UNCHANGED_REQUESTS} requests without a change ...")
    driver.ensure_attached()
    whose, statements = ("core", CORES) if reloader == "core" else ("ours", OURS)
    try:
        count = driver.count_on_unchanged(dsn, UNCHANGED_REQUESTS, statements)
    except psycopg.Error as error:
        reason = str(error).splitlines()[0]
        _say(f"Queries on unchanged requests: not counted, {reason}")
        return True
    _say(f"{count} queries of {whose} in {UNCHANGED_REQUESTS} unchanged requests")
    return count == 0 or reloader == "core"


def _time(outcome: Outcome) -> str:
    return "never" if outcome.worst is None else f"{1000 * outcome.worst:.0f} ms"


def _table(outcomes: Sequence[Outcome]) -> str:
    columns: list[tuple[str, Callable[[str, int], str], list[str]]] = [
        ("#", str.rjust, [str(number) for number, _ in enumerate(outcomes, 1)]),
        ("change", str.ljust, [outcome.title for outcome in outcomes]),
        ("edited in", str.rjust, [str(outcome.editor) for outcome in outcomes]),
        ("last worker right after", str.rjust, [_time(outcome) for outcome in outcomes]),
        ("wrong answers", str.rjust, [str(outcome.wrong) for outcome in outcomes]),
    ]
    widths = [max(map(len, [head, *cells])) for head, _, cells in columns]
    lines = [[head for head, _, _ in columns], ["-" * width for width in widths]]
    lines += map(list, zip(*(cells for _, _, cells in columns), strict=True))
    return "\n".join(
        "  ".join(
            align(cell, width)
            for cell, width, (_, align, _) in zip(line, widths, columns, strict=True)
        ).rstrip()
        for line in lines
    )


def _summary(outcomes: Sequence[Outcome], workers: int) -> str:
    wrong = sum(outcome.wrong for outcome in outcomes)
    times = [outcome.worst for outcome in outcomes if outcome.worst is not None]
    worst = f"{1000 * max(times):.0f} ms" if len(times) == len(outcomes) else "never right"
    right = sum(not outcome.wrong for outcome in outcomes)
    lines = [f"  {outcome.title}: {fault}" for outcome in outcomes for fault in outcome.faults]
    lines = ["", "Wrong:", *lines] if lines else []
    lines += [
        "",
        f"{right} of {len(outcomes)} changes were right on all {workers} workers at once",
        f"{wrong} wrong answers; slowest change: {worst}, with the time to answer the requests",
    ]
    return "\n".join(lines)


def _say_next() -> None:
    _say("\nNext: run 'make demo-serve', open the address it prints, log in as admin / admin,")
    _say("change an apphook or a slug, and reload the page a few times: the footer says which")
    _say("worker answered. DEMO_RELOAD=core or none shows the same without this package.")


# --- serve ---------------------------------------------------------------------------------------


def _serve(site: DemoSite) -> None:
    """Leave the site running until Ctrl-C."""
    _say(f"\nOpen      {site.address}/en/")
    _say(f"Admin     {site.address}/en/admin/ (admin / admin), pages: /en/admin/cms/pagecontent/")
    _say(f"Log       tail -f {site.log_path}")
    for worker in site.workers:
        _say(f"Worker    {worker.base_url}/en/ (pid {worker.pid})")
    _say(
        "\nChange the slug of 'News', or its apphook in the advanced settings; each worker follows"
    )
    _say("on its next request. Ctrl-C stops the site and removes its database.")
    if site.process is not None:
        site.process.wait()
        raise SiteError(f"gunicorn ended; its log ends:\n{site.log_tail()}")


# --- output --------------------------------------------------------------------------------------


def _say(text: str) -> None:
    clear = "\r\x1b[K" if sys.stdout.isatty() else ""
    sys.stdout.write(f"{clear}{text}\n")
    sys.stdout.flush()


def _progress(text: str) -> None:
    """A line that the next one replaces; on no terminal, a plain one."""
    if sys.stdout.isatty():
        sys.stdout.write(f"\r\x1b[K{text[:78]}")
        sys.stdout.flush()
    else:
        _say(text)


if __name__ == "__main__":
    sys.exit(main())
