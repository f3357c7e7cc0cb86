"""A Celery application; a Redis server is its broker and has its results."""

from __future__ import annotations

from celery import Celery


def make_app(redis_url: str) -> Celery:
    app = Celery("sections", broker=redis_url, backend=redis_url)
    app.conf.update(
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        # Seconds; a process of the pool that is not there in time is ended. A machine may be slow.
        worker_proc_alive_timeout=30,
    )
    return app
