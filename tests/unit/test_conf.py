from __future__ import annotations

import sys
from dataclasses import fields
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from cms_urlreload.conf import Settings, get_settings, parse


def test_parse__gives_the_defaults__for_an_empty_dictionary() -> None:
    assert parse({}) == (Settings(), [])


def test_parse__knows_each_field() -> None:
    raw = {field.name.upper(): field.default for field in fields(Settings)}
    assert parse(raw) == (Settings(), [])


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("POLL_INTERVAL", -1, "must be a number of seconds, 0 to 86400, not -1"),
        ("POLL_INTERVAL", "1", "must be a number of seconds, 0 to 86400, not '1'"),
        ("POLL_INTERVAL", True, "not True"),
        ("POLL_INTERVAL", float("nan"), "not nan"),
        ("POLL_INTERVAL", float("inf"), "not inf"),
        (
            "HEARTBEAT_INTERVAL",
            0,
            "must be a number of seconds above 0, and no more than 86400, not 0",
        ),
        (
            "HEARTBEAT_TIMEOUT",
            None,
            "must be a number of seconds above 0, and no more than 86400, not None",
        ),
        ("HEARTBEAT_INTERVAL", 10_000_000, "not 10000000"),
        ("CONNECT_TIMEOUT", 1, "must be a number of seconds, 2 to 86400, not 1"),
        ("CHANNEL", "", "must be a name of 1 to 63 bytes"),
        ("CHANNEL", "ü" * 32, "must be a name of 1 to 63 bytes"),
        ("CHANNEL", "a\0b", "without a null character"),
        ("LISTEN", "yes", "must be True, False or None, not 'yes'"),
        ("LISTEN_DATABASE", "", "must be a string or None"),
        ("CONFIG_MODELS", "news.Section", "a list of model names"),
        ("CONFIG_MODELS", ["Section"], "each as \"app_label.ModelName\", not ['Section']"),
        ("CONFIG_MODELS", ["news."], "not ['news.']"),
        ("CONFIG_MODELS", [1], "not [1]"),
        ("METRICS", 1, "must be True or False, not 1"),
        ("INTERVAL", 1, "unknown key 'INTERVAL'"),
        (1, 1, "unknown key 1"),
    ],
)
def test_parse__names_the_key_and_what_it_should_be(key: Any, value: Any, words: str) -> None:
    settings, [problem] = parse({key: value})
    assert settings == Settings()
    assert problem.key == str(key)
    assert words in problem.message


def test_parse__allows_metrics__where_there_is_a_client_for_them(monkeypatch: Any) -> None:
    assert parse({"METRICS": True}) == (Settings(metrics=True), [])
    monkeypatch.setitem(sys.modules, "prometheus_client", None)  # as if it were not installed
    settings, [problem] = parse({"METRICS": True})
    assert not settings.metrics
    assert "not installed (django-cms-urlreload[prometheus])" in problem.message
    assert parse({"METRICS": False}) == (Settings(), [])


def test_parse__reports_all_problems_and_keeps_what_is_right() -> None:
    settings, problems = parse({"POLL_INTERVAL": 5, "CHANNEL": 1, "NONSENSE": 2})
    assert settings == Settings(poll_interval=5)
    assert [problem.key for problem in problems] == ["CHANNEL", "NONSENSE"]


def test_parse__takes_a_list_of_models_as_a_tuple() -> None:
    settings, problems = parse({"CONFIG_MODELS": ["news.Story"]})
    assert (settings.config_models, problems) == (("news.Story",), [])


def test_parse__names_a_value_that_is_no_dictionary() -> None:
    _, [problem] = parse(["POLL_INTERVAL"])
    assert "CMS_URLRELOAD must be a dictionary, not list." in str(problem)


def test_parse__never_shows_a_password() -> None:
    _, [problem] = parse({"LISTEN_DSN": 0xC0FFEE})
    assert str(0xC0FFEE) not in str(problem)


def test_get_settings__raises_what_is_wrong() -> None:
    with (
        override_settings(CMS_URLRELOAD={"POLL": 1}),
        pytest.raises(ImproperlyConfigured, match="unknown key 'POLL'"),
    ):
        get_settings()


def test_get_settings__reads_again__when_a_test_changes_the_setting() -> None:
    with override_settings(CMS_URLRELOAD={"POLL_INTERVAL": 7}):
        assert get_settings().poll_interval == 7
    assert get_settings().poll_interval == 1
