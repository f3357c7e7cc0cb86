"""``python -m tests.bench.by_hand refresh --seconds 20``: the measures of one module, as text."""

from __future__ import annotations

import argparse
import importlib
import time

from tests.bench.measure import Scale
from tests.bench.record import Result, Spread


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("module")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", type=int)
    arguments = parser.parse_args()
    scale = Scale(arguments.seconds, arguments.rounds, arguments.quick)
    for measure in importlib.import_module(f"tests.bench.{arguments.module}").MEASURES:
        if arguments.only in (None, measure.number):
            began = time.monotonic()
            _show(measure.run(scale))
            print(f"   ({time.monotonic() - began:.0f} s)")


def _show(result: Result) -> None:
    print(f"{result.number} {result.name}: {result.title}")
    for figure in result.figures:
        value, goal = figure.value, figure.goal
        met = "" if goal is None else f"{goal.text} {'ok' if goal.is_met_by(value.median) else '✘'}"
        spread = f"{value.median:.4g} ({value.low:.4g} to {value.high:.4g}) {figure.unit}"
        print(f"   {figure.name}: {spread}  {met}")
    for name, samples in result.samples.items():
        value = Spread.of(samples)
        spread = f"{value.median:.4g} ({value.low:.4g} to {value.high:.4g}) {result.unit}"
        print(f"     {name}: {spread}, {len(samples)} samples")
    for note in result.notes:
        print(f"   {note}")


if __name__ == "__main__":
    main()
