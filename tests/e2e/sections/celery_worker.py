"""What ``celery -A`` is given. Not a line is about URLs: that each task finds them right all the
same is what is tested. Only a test of forks asks for some, in the process that forks.
"""

from __future__ import annotations

import os
from typing import Any

from celery import signals

from tests.e2e.sections.celery_app import make_app

app = make_app(os.environ["SECTIONS_REDIS"])
app.autodiscover_tasks()

if "SECTIONS_MAIN_IS_FRESH" in os.environ:

    @signals.worker_init.connect  # type: ignore[untyped-decorator]
    @signals.task_received.connect  # type: ignore[untyped-decorator]
    def in_the_main_process(**kwargs: Any) -> None:
        from cms_urlreload.tasks import ensure_fresh

        ensure_fresh()
