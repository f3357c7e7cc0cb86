"""What ``celery -A`` is given. Not a line is about URLs: that each task finds them right all the
same is what is tested."""

from __future__ import annotations

import os
from pathlib import Path

from tests.e2e.sections.celery_app import make_app

app = make_app(Path(os.environ["SECTIONS_CELERY"]))
app.autodiscover_tasks()
