"""The objects of this process: its state, its transport and its reloader, one of each; and what a
fork and the end of the process do to them.

Importing this starts nothing and asks nobody.
"""

from __future__ import annotations

import atexit
import os
import threading

from .reloader import Reloader
from .state import State
from .transports import Transport, create_transport

state = State()
_transport: Transport | None = None
_transport_lock = threading.Lock()


def get_transport() -> Transport:
    """Return the transport of this process, created at the first call."""
    global _transport
    if _transport is None:
        with _transport_lock:
            if _transport is None:  # another thread may have been faster
                _transport = create_transport(state)
    return _transport


reloader = Reloader(state, get_transport)
refresh = reloader.refresh
arefresh = reloader.arefresh


def _after_fork_in_child() -> None:
    global _transport_lock
    _transport_lock = threading.Lock()
    state.reset_after_fork()
    reloader.reset_after_fork()
    if _transport is not None:
        _transport.mode.reset_after_fork()
        _transport.abandon()


def _stop() -> None:
    if _transport is not None:
        _transport.stop()


# Many servers end without atexit (uvicorn and waitress on SIGTERM, for two), so nothing depends
# on it: it only spares the server a connection that is cut.
atexit.register(_stop)
if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_after_fork_in_child)
