"""Slows or holds the queries that rebuild the URLs, breaks an apphook, or ends the process at the
worst moment, as the environment says."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.db.backends.signals import connection_created

SLOW_BUILD = float(os.environ.get("CONTROLS_SLOW_BUILD", "0"))
HOLD_BUILD = os.environ.get("CONTROLS_HOLD_BUILD", "")
BREAK_NEWS = os.environ.get("CONTROLS_BREAK_NEWS", "")
KILL_BEFORE_ANNOUNCING = os.environ.get("CONTROLS_KILL_BEFORE_ANNOUNCING", "")


class ControlsConfig(AppConfig):
    name = "tests.e2e.controls"

    def ready(self) -> None:
        if BREAK_NEWS:
            _break_news()
        if KILL_BEFORE_ANNOUNCING:
            _kill_before_announcing()
        if SLOW_BUILD or HOLD_BUILD:
            connection_created.connect(_slow_down, weak=False)


def _slow_down(connection: Any, **kwargs: Any) -> None:
    if _wait_around_build not in connection.execute_wrappers:
        connection.execute_wrappers.append(_wait_around_build)


def _wait_around_build(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    # The query that django CMS builds the apphooks from, and so do we; and none of a view's.
    if not ('"application_urls" IS N' in sql and "ORDER BY" in sql and "token" not in sql):
        return execute(sql, params, many, context)
    if SLOW_BUILD:
        threading.Event().wait(SLOW_BUILD)
    result = execute(sql, params, many, context)
    if HOLD_BUILD and Path(HOLD_BUILD).exists():
        _hold(Path(HOLD_BUILD))
    return result


def _hold(file: Path) -> None:
    """The rows are here, and wait for as long as the file is there."""
    Path(f"{file}.{os.getpid()}").touch()
    pause = threading.Event()
    while file.exists():
        pause.wait(0.01)


def _kill_before_announcing() -> None:
    """Have the first process that announces, while there is a file, take that away and die."""
    from cms_urlreload_pg.transport import PostgresTransport

    announce = PostgresTransport.announce

    def die_or_announce(self: Any, *args: Any, **kwargs: Any) -> None:
        flag = Path(KILL_BEFORE_ANNOUNCING)
        if flag.exists():
            flag.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        announce(self, *args, **kwargs)

    PostgresTransport.announce = die_or_announce  # type: ignore[method-assign]


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
