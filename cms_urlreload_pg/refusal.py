"""Where no listener may start, and why. Asked whenever a process has to look by itself."""

from __future__ import annotations

import functools
import importlib
import logging
from types import ModuleType
from typing import NamedTuple

from django.core import mail

from cms_urlreload.conf import SETTING, Settings


class Refusal(NamedTuple):
    """Why this process does not listen."""

    reason: str
    remedy: str = ""
    #: Of the line in the log.
    level: int = logging.DEBUG

    @property
    def is_meant(self) -> bool:
        """Whether nothing is to be done about it."""
        return self.level < logging.WARNING


def refusal(settings: Settings) -> Refusal | None:
    """Return why this process may not listen now; None if it may."""
    if settings.listen is False:
        return Refusal(
            f"{SETTING}['LISTEN'] is False.", "Leave it out to have this process told of changes."
        )
    if settings.listen is None and is_test_run():
        return Refusal(
            "this is a test run; a listener would keep the test database from being dropped.",
            f"{SETTING}['LISTEN'] = True has it started all the same.",
        )
    return _refusal_of_uwsgi()


def is_test_run() -> bool:
    """Whether this process runs tests: by what Django's setup_test_environment() does, whichever
    test runner calls it."""
    return hasattr(mail, "outbox")


def _refusal_of_uwsgi() -> Refusal | None:
    uwsgi = _uwsgi()
    if uwsgi is None:
        return None
    if uwsgi.worker_id() == 0:
        # It forks its workers in C. With a thread alive at that moment, some of them hang.
        return Refusal("this is uWSGI's master process, or a mule; its workers listen.")
    # uwsgi.opt does not tell: since uWSGI 2.0.27 threads are enabled without an option.
    if not getattr(uwsgi, "has_threads", 1):
        return Refusal(
            "threads of Python do not run in this uWSGI.",
            "Set enable-threads = true in its configuration.",
            logging.WARNING,
        )
    return None


@functools.cache
def _uwsgi() -> ModuleType | None:
    """Return the module that is there in a process of uWSGI's, and nowhere else."""
    try:
        return importlib.import_module("uwsgi")
    except ImportError:
        return None
