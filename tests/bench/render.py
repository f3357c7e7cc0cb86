"""``python -m tests.bench.render``: writes what docs/benchmarks.json says into README.md and
docs/benchmarks.md, and draws the charts. It measures nothing; a test sees that it was run.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.bench.charts import draw, number

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "docs" / "benchmarks.json"
CHARTS = ROOT / "docs" / "benchmarks"
PAGE = ROOT / "docs" / "benchmarks.md"
README = ROOT / "README.md"
#: The rows that README shows, with the first two goals of each.
README_ROWS = (1, 3, 4, 5, 7, 9, 10)

Data = Mapping[str, Any]


def load() -> dict[str, Any]:
    """Return what was measured."""
    data: dict[str, Any] = json.loads(DATA.read_text())
    return data


def documents(data: Data) -> dict[Path, str]:
    """Return each file that shows the data, with what it must hold."""
    charts = {CHARTS / f"{result['name']}.svg": draw(result) for result in data["results"]}
    drawn = {path: chart for path, chart in charts.items() if chart is not None}
    return {
        README: _put(README.read_text(), "bench:readme", readme(data)),
        PAGE: _put(PAGE.read_text(), "bench", page(data)),
        **drawn,
    }


def write(data: Data) -> None:
    """Bring all files up to date; charts of what is not measured any more go."""
    texts = documents(data)
    CHARTS.mkdir(exist_ok=True)
    for chart in set(CHARTS.glob("*.svg")) - set(texts):
        chart.unlink()
    for path, text in texts.items():
        path.write_text(text)


def _put(document: str, mark: str, text: str) -> str:
    begin, end = f"<!-- {mark}:begin -->", f"<!-- {mark}:end -->"
    form = re.compile(f"{re.escape(begin)}.*{re.escape(end)}", re.DOTALL)
    if not form.search(document):
        raise ValueError(f"there is no {begin} … {end}")
    return form.sub(lambda _: f"{begin}\n{text}\n{end}", document)


# --- README --------------------------------------------------------------------------------------


def readme(data: Data) -> str:
    """Return the short table: a line for each row, with what its goals are about."""
    lines = ["| | |", "|---|---|"]
    for result in data["results"]:
        if result["number"] in README_ROWS:
            told = "; ".join(_short(figure) for figure in _with_goals(result)[:2])
            lines.append(f"| {result['title']} | {told} |")
    return "\n".join([*lines, "", f"{_made_on(data)}"])


def _with_goals(result: Data) -> list[Data]:
    return [figure for figure in result["figures"] if figure["goal"]]


def _short(figure: Data) -> str:
    return f"{figure['name']}: {_value(figure, figure['median'])}"


# --- the page ------------------------------------------------------------------------------------


def page(data: Data) -> str:
    """Return the table of all rows, and what each of them was made of."""
    parts = [
        _made_on(data),
        "",
        "| # | measure | figure | median | quartiles | goal | |",
        "|---|---|---|---|---|---|---|",
        *(line for result in data["results"] for line in _rows(result)),
        *(line for result in data["results"] for line in _detail(result)),
    ]
    return "\n".join(parts)


def _made_on(data: Data) -> str:
    machine = data["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in data["versions"].items())
    return (
        f"Measured on {data['date']}, with {machine['cores']} cores ({machine['CPU']}), "
        f"{machine['OS']}; {versions}."
    )


def _rows(result: Data) -> Iterator[str]:
    head = (str(result["number"]), result["title"])
    for figure in result["figures"]:
        cells = (*head, figure["name"], _value(figure, figure["median"]), _quartiles(figure))
        yield f"| {' | '.join([*cells, figure['goal'] or '', verdict(figure)])} |"
        head = ("", "")


def _value(figure: Data, value: float) -> str:
    return f"{number(value)} {figure['unit']}".strip()


def _quartiles(figure: Data) -> str:
    if figure["low"] == figure["high"]:
        return ""
    return f"{number(figure['low'])} to {number(figure['high'])}"


def verdict(figure: Data) -> str:
    """Return whether the goal is met, if there is one."""
    return {None: "", True: "met", False: "**missed**"}[figure["met"]]


def _detail(result: Data) -> Iterator[str]:
    yield from ("", f"### {result['number']}. {result['title']}", "")
    yield from (f"* {note}" for note in result["notes"])
    if result["samples"]:
        medians = (
            f"{name} {number(statistics.median(values))}"
            for name, values in result["samples"].items()
            if values
        )
        yield f"* Medians, in {result['unit']}: {'; '.join(medians)}."
    if draw(result) is not None:
        yield from ("", f"![{result['title']}](benchmarks/{result['name']}.svg)")


# --- the terminal --------------------------------------------------------------------------------


def table(result: Data) -> str:
    """Return a result for a terminal."""
    lines = [
        [figure["name"], _value(figure, figure["median"]), _quartiles(figure),
         figure["goal"] or "", verdict(figure).strip("*")]
        for figure in result["figures"]
    ]  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = [_aligned(line, widths) for line in lines]
    return "\n".join([f"{result['number']}. {result['title']}", *rows, *result["notes"], ""])


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
    return f"   {'   '.join(cells)}".rstrip()


if __name__ == "__main__":
    write(load())
