"""Tasks, in the place where Celery looks for them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from celery import shared_task
from django.urls import NoReverseMatch, reverse
from django.utils.translation import override

from tests.support.waiting import wait_until


@shared_task(name="reverse_in_company")  # type: ignore[untyped-decorator]
def reverse_in_company(name: str, folder: str, company: int) -> dict[str, Any]:
    """Reverse a name; then stay until as many processes are at it, so that each has its task."""
    with override("en"):
        try:
            url = reverse(name)
        except NoReverseMatch:
            url = "-"
    (Path(folder) / str(os.getpid())).touch()
    with contextlib.suppress(TimeoutError):
        wait_until(lambda: len(list(Path(folder).iterdir())) >= company, 10, "the other processes")
    return {"pid": os.getpid(), "url": url}
