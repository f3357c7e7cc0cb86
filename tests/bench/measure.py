"""What a benchmark is: a numbered, named measure, and how much of it to make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.bench.record import Result


@dataclass(frozen=True)
class Scale:
    """How much to measure."""

    #: The time that this measure may take, in seconds.
    seconds: float
    #: Alternating rounds: each makes every rival once.
    rounds: int
    #: Whether it is to be seen to run, and not to be believed.
    quick: bool


@dataclass(frozen=True)
class Measure:
    """One row of the table in docs/benchmarks.md."""

    number: int
    #: Its name on the command line: "requests-trivial".
    name: str
    #: What it measures, in a few words.
    title: str
    run: Callable[[Scale], Result]
