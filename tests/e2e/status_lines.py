"""A process without requests that answers each line: ``status``, ``fork`` (what a child of it has
to say), or the name of a URL. It ends, as a process should, when its input does."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import django
from django.db import connections
from django.urls import NoReverseMatch, reverse
from django.utils.translation import override

from cms_urlreload.tasks import ensure_fresh
from tests.support.waiting import wait_until


def status() -> dict[str, Any]:
    from cms_urlreload.status import get_status

    found = get_status()
    return {
        "pid": found.pid,
        "mode": found.mode.name,
        "reason": found.mode.reason,
        "lease": found.lease,
        "served": found.served,
        **found.counters,
    }


def fresh_status() -> dict[str, Any]:
    ensure_fresh()
    return status()


def fork() -> dict[str, Any]:
    """Fork while the listener's thread runs; the child lives until it listens, by itself."""
    reader, writer = os.pipe()
    # A connection of Django's must not be shared; servers that fork see to that.
    connections.close_all()
    child = os.fork()
    if child == 0:
        try:
            wait_until(lambda: fresh_status()["mode"] == "push", 20, "push")
            os.write(writer, json.dumps(status()).encode())
            # As most children end: with all hooks, and with the parent's objects in their memory.
            sys.stdin.close()
            sys.exit(0)
        except TimeoutError:
            os.write(writer, json.dumps(status()).encode())
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader) as answer:
        said: dict[str, Any] = json.loads(answer.read())
    said["exit"] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return said


def url(name: str) -> str:
    with override("en"):
        try:
            return reverse(name)
        except NoReverseMatch:
            return "-"


def main() -> None:
    django.setup()
    for line in sys.stdin:
        word = line.strip()
        if word == "fork":
            print(json.dumps(fork()), flush=True)
            continue
        ensure_fresh()
        print(json.dumps(status()) if word == "status" else url(word), flush=True)


if __name__ == "__main__":
    main()
