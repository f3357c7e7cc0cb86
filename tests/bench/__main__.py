"""``make bench``: makes the measures, prints them as they come, and at the end writes
docs/benchmarks.json and what is rendered from it.

A measure that fails is told, and keeps what docs/benchmarks.json has of it.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import sys
import time
import traceback
from collections.abc import Sequence
from typing import Any

from tests.bench import catalogue, render
from tests.bench.machine import describe_machine, describe_versions
from tests.bench.measure import Measure
from tests.bench.record import as_data


def main(arguments: Sequence[str] | None = None) -> int:
    known = {measure.name: measure for measure in catalogue.measures()}
    options = _parse(arguments, list(known))
    if options.list:
        for measure in known.values():
            print(f"{measure.number:3}  {measure.name:14} {measure.title}")
        return 0
    chosen = [known[name] for name in options.only or known]
    results, failed = _make(chosen, quick=options.quick, seconds=options.seconds)
    if results and not options.quick:
        render.DATA.write_text(_as_json(_merge(results)))
        # What was written, and not what was measured: it has fewer digits.
        render.write(render.load())
        print(f"Written: {render.DATA.relative_to(render.ROOT)}, and what is rendered from it.")
    return 1 if failed else 0


def _parse(arguments: Sequence[str] | None, names: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=names, help="these alone")
    parser.add_argument("--seconds", type=float, help="for each of them, in place of its part")
    parser.add_argument("--quick", action="store_true", help="see that it runs; write nothing")
    parser.add_argument("--list", action="store_true", help="what there is")
    return parser.parse_args(arguments)


def _make(
    chosen: Sequence[Measure], *, quick: bool, seconds: float | None
) -> tuple[list[dict[str, Any]], list[str]]:
    results, failed = [], []
    for measure in chosen:
        print(f"... {measure.title}", flush=True)
        started = time.monotonic()
        try:
            data = as_data(measure.run(catalogue.scale(measure, quick=quick, seconds=seconds)))
        except Exception:
            traceback.print_exc()
            failed.append(measure.name)
            continue
        print(render.table(data), flush=True)
        print(f"    {time.monotonic() - started:.0f} s\n", flush=True)
        results.append(data)
    if failed:
        print(f"Failed: {', '.join(failed)}", file=sys.stderr)
    return results, failed


def _merge(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return these results, beside what is there of the others."""
    before = render.load() if render.DATA.exists() else {"results": []}
    rows = {(old["number"], old["name"]): old for old in before["results"]}
    rows.update({(new["number"], new["name"]): new for new in results})
    machine, versions = describe_machine(), describe_versions()
    if len(rows) > len(results) and (before["machine"], before["versions"]) != (machine, versions):
        print("The other rows were measured on another machine, or with other versions.")
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "machine": machine,
        "versions": versions,
        "results": [rows[key] for key in sorted(rows)],
    }


def _as_json(data: dict[str, Any]) -> str:
    """Return the text, with the numbers of a list in one line."""
    text = json.dumps(_rounded(data), indent=1, ensure_ascii=False)
    lists = re.compile(r"\[[-\d.e,\s]*\]")
    return lists.sub(lambda found: " ".join(found[0].split()), text) + "\n"


def _rounded(data: Any) -> Any:
    """Return the data with five digits of each number: what is measured has no more."""
    if isinstance(data, dict):
        return {key: _rounded(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_rounded(value) for value in data]
    return float(f"{data:.5g}") if isinstance(data, float) else data


if __name__ == "__main__":
    sys.exit(main())
