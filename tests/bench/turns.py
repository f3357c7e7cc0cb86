"""Measures by turns: each round makes every rival once, in an order that is another each time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from tests.bench.measure import Scale

#: Seconds that one turn takes at least.
SHORTEST = 0.05


def turns(names: Sequence[str], rounds: int) -> Iterator[Sequence[str]]:
    """Yield the names, each order once forwards and once backwards, then rotated by one: so each
    of them comes as often behind each other one."""
    for number in range(rounds):
        at = number // 2 % len(names)
        order = [*names[at:], *names[:at]]
        yield order[::-1] if number % 2 else order


def measure_by_turns(
    subjects: Mapping[str, Callable[[float], float]], scale: Scale, until: float
) -> dict[str, list[float]]:
    """Return what each subject measures in each round.

    :param subjects: by name; each is given the seconds that its turn is to take.
    :param until: when all rounds shall be over, as of time.monotonic().
    """
    found: dict[str, list[float]] = {name: [] for name in subjects}
    left = scale.rounds * len(subjects)
    for order in turns(list(subjects), scale.rounds):
        for name in order:
            seconds = max(SHORTEST, (until - time.monotonic()) / left)
            found[name].append(subjects[name](seconds))
            left -= 1
    return found
