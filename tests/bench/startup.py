"""Row 14: what the package adds to the start of a process."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from typing import Any

from tests.bench.measure import Measure, Scale
from tests.bench.record import Figure, Goal, Result, Spread
from tests.bench.subject import environment
from tests.demo.site import ROOT
from tests.support.postgres import free_port

_HOW = (
    "Fresh processes, by turns: import, django.setup() and the middleware of the demo site, with "
    "the package's two apps and its middleware, and without. What none has is a database: nobody "
    "listens at its address, so a query would be an error."
)


def run(scale: Scale) -> Result:
    """Start processes by turns until the time is over."""
    samples: dict[str, list[float]] = defaultdict(list)
    extras = []
    deadline = time.monotonic() + scale.seconds
    number = -1  # the first round compiles what is not compiled yet
    with tempfile.TemporaryDirectory() as compiled:
        while number < 3 or (time.monotonic() < deadline and number < 10 * scale.rounds):
            for reload in ("none", "ours")[:: 1 if number % 2 else -1]:
                found = start(reload, compiled)
                if number >= 0:
                    samples[reload].append(found["wall"] * 1000)
                    samples[f"{reload}, CPU"].append(found["cpu"] * 1000)
                    extras.append(len(found["threads"]) - 1 + len(found["connections"]))
            number += 1
    at_most = Goal("≤ 5 ms over none", at_most=5)
    return Result(
        14,
        "startup",
        "the start of a process",
        [
            Figure("push - none", _more(samples, ""), "ms", at_most),
            Figure("push - none, CPU time", _more(samples, ", CPU"), "ms"),
            Figure(
                "threads and connections before the first request",
                Spread.of([max(extras)]),
                "",
                Goal("none", at_most=0),
            ),
        ],
        samples,
        "ms",
        (_HOW,),
    )


def start(reload: str, compiled: str) -> dict[str, Any]:
    """Start one process; return what it says.

    :param compiled: a directory for the compiled modules, which a machine that runs tests may not
        have beside their source.
    """
    address = f"postgresql://nobody:none@127.0.0.1:{free_port()}/none"
    env = environment(address, reload, PYTHONPYCACHEPREFIX=compiled, PYTHONDONTWRITEBYTECODE="")
    command = [sys.executable, "-W", "ignore", "-m", "tests.bench.starting"]
    answer = subprocess.run(command, capture_output=True, timeout=60, cwd=ROOT, env=env, check=True)
    return json.loads(answer.stdout)  # type: ignore[no-any-return]


def _more(samples: dict[str, list[float]], what: str) -> Spread:
    pairs = zip(samples[f"ours{what}"], samples[f"none{what}"], strict=True)
    return Spread.of([ours - none for ours, none in pairs])


MEASURES = (Measure(14, "startup", "the start of a process", run),)
