"""Template context of every page: which process answered."""

from __future__ import annotations

import os
import socket

from django.http import HttpRequest


def worker(request: HttpRequest) -> dict[str, object]:
    """``worker_pid`` and ``worker_host``, shown in the page's footer."""
    return {"worker_pid": os.getpid(), "worker_host": socket.gethostname()}
