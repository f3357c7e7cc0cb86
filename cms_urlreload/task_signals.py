"""Calls ``ensure_fresh()`` before each task of Celery and of Django, with no line of the user's.

Celery's ``task_prerun`` is connected if Celery is imported by the time that the apps are loaded,
as it is in every ``celery -A project worker``; Django's ``task_started`` where Django has tasks
(6.0), and that of its backport where django_tasks is installed. A worker that imports Celery
later, say in a command of its own, calls :func:`connect` once more.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import django
from django.apps import apps

from .tasks import ensure_fresh

_UID = "cms_urlreload.task_signals"


def connect() -> None:
    """Connect what there is; called by the app's ready(). A second call does no harm."""
    for signal in _signals():
        signal.connect(on_task_start, dispatch_uid=_UID)


def on_task_start(**kwargs: Any) -> None:
    """A task is about to run in this process."""
    ensure_fresh()


def _signals() -> Iterator[Any]:
    # Not imported for its own sake: that takes a tenth of a second, in every command.
    if "celery" in sys.modules:
        yield import_module("celery.signals").task_prerun
    if django.VERSION >= (6, 0):
        yield import_module("django.tasks.signals").task_started
    if apps.is_installed("django_tasks"):
        yield import_module("django_tasks.signals").task_started
