"""Holds one statement of a process, where there is no connection to hold it on (SQLite)."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.db.backends.signals import connection_created

#: A folder; see tests.e2e.gates.FileGate.
HOLD = os.environ.get("ROUTES_HOLD", "")


class RoutesConfig(AppConfig):
    name = "tests.e2e.routes"
    label = "routes"

    def ready(self) -> None:
        if HOLD:
            connection_created.connect(_install, weak=False)


def _install(connection: Any, **kwargs: Any) -> None:
    if _hold not in connection.execute_wrappers:
        connection.execute_wrappers.append(_hold)


def _hold(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    folder = Path(HOLD)
    armed = folder / "armed"
    if armed.exists():
        counts = folder / "count"
        count = int(counts.read_text() or 0) + 1
        counts.write_text(str(count))
        if count == int(armed.read_text()):
            (folder / "holding").touch()
            pause = threading.Event()
            while armed.exists():
                pause.wait(0.005)
    return execute(sql, params, many, context)
