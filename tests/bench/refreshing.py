"""``python -m tests.bench.refreshing``: a process that refreshes its apphook URLs when it is told,
and says how long that took: by this package or by django CMS, as DEMO_RELOAD says.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from typing import Any

import django

from tests.bench.subject import serve
from tests.support.waiting import wait_until


def _core() -> Callable[[], None]:
    from cms.utils.apphook_reload import ensure_urlconf_is_up_to_date

    return ensure_urlconf_is_up_to_date  # type: ignore[no-any-return]


def _ours() -> Callable[[], None]:
    from cms_urlreload.process import refresh

    return refresh


def _get_ready() -> None:
    """What is not measured: that it hears of the change, and that its last refresh is forgotten."""
    if os.environ["DEMO_RELOAD"] == "ours":
        from cms_urlreload.process import reloader, state

        wait_until(lambda: state.dirty, 10, "the notification", interval=0.001)
        # What a script that commits hundreds of changes meets, and an editor does not.
        reloader._next_at = 0.0
    gc.collect()


def refresh(path: str, name: str) -> dict[str, Any]:
    """Refresh; then resolve ``path`` and reverse ``name``, which lead to each other."""
    from django.db import connection
    from django.urls import resolve, reverse
    from django.utils.translation import override

    _get_ready()
    queries = []

    def count(execute: Any, statement: Any, *arguments: Any) -> Any:
        queries.append(statement)
        return execute(statement, *arguments)

    with override("en"), connection.execute_wrapper(count):
        began = time.perf_counter()
        bring_up_to_date()
        refreshed = time.perf_counter()
        match = resolve(path)
        url = reverse(name)
        ended = time.perf_counter()
    if match.view_name != name or url != path:
        raise RuntimeError(f"{path} leads to {match.view_name}, and {name} to {url}")
    return {
        "seconds": ended - began,
        "refresh": refreshed - began,
        "queries": len(queries),
    }


if __name__ == "__main__":
    django.setup()
    bring_up_to_date = {"ours": _ours, "core": _core}[os.environ["DEMO_RELOAD"]]()
    serve({"refresh": refresh})
