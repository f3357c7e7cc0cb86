"""Tasks, in the place where Celery looks for them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from celery import Task, shared_task
from django.urls import NoReverseMatch, reverse
from django.utils.translation import override

from tests.support.waiting import wait_until


@shared_task(bind=True, name="reverse_in_company")  # type: ignore[untyped-decorator]
def reverse_in_company(self: Task, name: str, folder: str, company: int) -> dict[str, Any]:
    """Reverse a name; then stay until as many tasks are at it, so that no process has two."""
    with override("en"):
        try:
            url = reverse(name)
        except NoReverseMatch:
            url = "-"
    (Path(folder) / self.request.id).touch()
    wait_until(lambda: len(list(Path(folder).iterdir())) >= company, 15, "the other tasks")
    return {"pid": os.getpid(), "url": url}
