"""Starts children that do not outlive us and ends them within a bound.

Every child gets its own session, so that a Ctrl-C in the terminal reaches us first and we end
the children in the right order.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

_PR_SET_PDEATHSIG = 1
# Loaded here and not in the child: between fork and exec nothing may be imported or allocated
# that another thread could hold a lock of.
_libc = ctypes.CDLL(None) if sys.platform.startswith("linux") else None


def die_with_parent(signum: signal.Signals) -> Callable[[], None] | None:
    """A ``preexec_fn`` that makes the kernel send ``signum`` to the child when we die.

    Linux only, and only from the main thread: the kernel means the *thread* that forked, so a
    child of a short-lived thread would be ended with it.
    """
    if _libc is None or threading.current_thread() is not threading.main_thread():
        return None
    prctl, number = _libc.prctl, int(signum)

    def preexec() -> None:
        prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)

    return preexec


def end_process(
    process: subprocess.Popen[bytes], signum: signal.Signals, timeout: float, *, group: bool = False
) -> bool:
    """Send ``signum``, wait ``timeout`` seconds, then SIGKILL. Whether it ended by itself.

    ``group`` sends the SIGKILL to the child's whole process group; always, so that children of
    the child which missed its end are gone too.
    """
    gently = True
    if process.poll() is None:
        process.send_signal(signum)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            gently = False
            process.kill()
    if group:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)
    return gently


def tail(path: Path, lines: int = 60) -> str:
    """The last lines of a log, for an error message."""
    try:
        text = path.read_text(errors="replace")
    except OSError as error:
        return f"(no log: {error})"
    return "\n".join(text.splitlines()[-lines:]) or "(the log is empty)"
