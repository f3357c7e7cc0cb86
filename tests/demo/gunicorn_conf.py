"""gunicorn for the demo: every worker serves the shared address and one of its own.

With its own address a test can ask *each* worker. Who serves where is in DEMO_RUN_DIR:
``server.json`` (the shared address) and ``worker-<pid>.json`` (from when its application is
loaded until the worker has ended).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from gunicorn.sock import TCPSocket

bind = os.environ.get("DEMO_BIND", "127.0.0.1:8000")
workers = int(os.environ.get("DEMO_WORKERS", "4"))
worker_class = os.environ.get("DEMO_WORKER_CLASS", "sync")
threads = int(os.environ.get("DEMO_THREADS", "1"))
preload_app = os.environ.get("DEMO_PRELOAD", "") == "1"
graceful_timeout = 5
wsgi_app = os.environ.get("DEMO_WSGI_APP", "tests.demo.wsgi:application")
# gunicorn's control socket would be one fixed path in the user's home for all instances.
control_socket_disable = True

_run_dir = Path(os.environ["DEMO_RUN_DIR"]) if "DEMO_RUN_DIR" in os.environ else None


def _write(name: str, data: dict[str, Any]) -> None:
    """Write and rename: who waits for the file never reads half of it."""
    if _run_dir is not None:
        unfinished = _run_dir / f"{name}.{os.getpid()}.tmp"
        unfinished.write_text(json.dumps(data))
        unfinished.replace(_run_dir / name)


def _forget(worker: Any) -> None:
    if _run_dir is not None:
        (_run_dir / f"worker-{worker.pid}.json").unlink(missing_ok=True)


def when_ready(server: Any) -> None:
    host, port = server.LISTENERS[0].getsockname()[:2]
    _write("server.json", {"pid": os.getpid(), "host": host, "port": port})


def post_fork(server: Any, worker: Any) -> None:
    if _run_dir is not None:
        own = TCPSocket(("127.0.0.1", 0), server.cfg, server.log)
        # A new list: the arbiter passes its own to all workers.
        worker.sockets = [*worker.sockets, own]
        worker.demo_port = own.getsockname()[1]


def post_worker_init(worker: Any) -> None:
    if _run_dir is not None:
        _write(f"worker-{worker.pid}.json", {"pid": worker.pid, "port": worker.demo_port})


def worker_exit(server: Any, worker: Any) -> None:
    _forget(worker)


def child_exit(server: Any, worker: Any) -> None:
    # In the arbiter: a worker that was killed could not tidy up itself.
    _forget(worker)
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
