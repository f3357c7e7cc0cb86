"""Slows the queries that rebuild the URLs, or breaks an apphook, as the environment says."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.db.backends.signals import connection_created

SLOW_BUILD = float(os.environ.get("CONTROLS_SLOW_BUILD", "0"))
BREAK_NEWS = os.environ.get("CONTROLS_BREAK_NEWS", "")


class ControlsConfig(AppConfig):
    name = "tests.e2e.controls"

    def ready(self) -> None:
        if BREAK_NEWS:
            _break_news()
        if SLOW_BUILD:
            connection_created.connect(_slow_down, weak=False)


def _slow_down(connection: Any, **kwargs: Any) -> None:
    if _wait_before_build not in connection.execute_wrappers:
        connection.execute_wrappers.append(_wait_before_build)


def _wait_before_build(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    # The query that django CMS builds the apphooks from, and so do we; and none of a view's.
    if '"application_urls" IS N' in sql and "ORDER BY" in sql and "token" not in sql:
        threading.Event().wait(SLOW_BUILD)
    return execute(sql, params, many, context)


def _break_news() -> None:
    """Have the apphook of the news raise for as long as there is a file."""
    from tests.demo.news.cms_apps import NewsApphook

    get_urls = NewsApphook.get_urls

    def get_urls_or_raise(self: Any, page: Any = None, *args: Any, **kwargs: Any) -> list[str]:
        # Without a page, django CMS asks what apphooks there are, in many a request.
        if page is not None and Path(BREAK_NEWS).exists():
            raise RuntimeError("told to break")
        return get_urls(self, page, *args, **kwargs)

    NewsApphook.get_urls = get_urls_or_raise  # type: ignore[method-assign]
