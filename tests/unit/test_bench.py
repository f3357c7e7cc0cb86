"""What people read of the benchmarks is what was measured."""

from __future__ import annotations

import pytest

from tests.bench import render
from tests.bench.charts import Bar, draw_bars, draw_curves, number
from tests.bench.record import Figure, Goal, Result, Spread, as_data, ratios
from tests.bench.turns import turns


def test_the_documents_show_what_the_data_say() -> None:
    for path, text in render.documents(render.load()).items():
        assert path.read_text() == text, f"{path.name}: run python -m tests.bench.render"


def test_no_chart_is_of_something_that_was_not_measured() -> None:
    texts = render.documents(render.load())
    assert set(render.CHARTS.glob("*.svg")) <= set(texts)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (2, "2"),
        (0.98765, "0.988"),
        (2.4, "2.40"),
        (31.26, "31.3"),
        (1234.5, "1,234"),
        (0.00096, "0.000960"),
        (0.0000123, "1.2e-05"),
    ],
)
def test_number__has_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_turns__let_each_be_first__and_come_behind_each_other_one() -> None:
    orders = list(turns("abcd", 8))
    assert {order[0] for order in orders} == set("abcd")
    assert all(sorted(order) == list("abcd") for order in orders)
    assert len(orders) == 8


def test_ratios__are_made_round_by_round() -> None:
    assert ratios([2, 4, 60], [1, 2, 30]) == Spread(2, 2, 2)


def test_page__says_so__when_a_goal_is_missed() -> None:
    goal = Goal("≥ 2", at_least=2)
    figures = [Figure("", Spread(value, value, value), "", goal) for value in (1.5, 3)]
    data = as_data(Result(1, "name", "title", figures))
    assert [render.verdict(figure) for figure in data["figures"]] == ["**missed**", "met"]


def test_charts__escape_what_they_are_given() -> None:
    bars = draw_bars("a < b", [Bar("<b>", 1.0, 0.5, 2.0)])
    curves = draw_curves("a & b", {"<c>": [(1, 1.0), (1000, 30.0), (5, 0.0)]}, ("n", "ms"))
    assert "<b>" not in bars
    assert "&lt;b&gt;" in bars
    assert "&lt;c&gt;" in curves
    assert "a &amp; b" in curves
