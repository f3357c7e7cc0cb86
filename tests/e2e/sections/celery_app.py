"""A Celery application without a broker's server: messages and results are files."""

from __future__ import annotations

from pathlib import Path

from celery import Celery


def make_app(folder: Path) -> Celery:
    for name in ("messages", "control", "results"):
        (folder / name).mkdir(exist_ok=True)
    app = Celery("sections")
    app.conf.update(
        broker_url="filesystem://",
        broker_transport_options={
            "data_folder_in": str(folder / "messages"),
            "data_folder_out": str(folder / "messages"),
            "control_folder": str(folder / "control"),
            "polling_interval": 0.05,
        },
        result_backend=f"file://{folder / 'results'}",
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
    )
    return app
