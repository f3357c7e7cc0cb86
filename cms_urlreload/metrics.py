"""Metrics for Prometheus, in the default registry of prometheus_client. ``CMS_URLRELOAD`` turns
them on with ``"METRICS": True``; nothing else imports this.

Fed by the signals of this package: an unchanged request, which sends none, pays nothing. Plain
metrics, and no collector that is asked at the time of a scrape: they are right under gunicorn's
multiprocess mode too, where the worker that is scraped knows nothing of the others. It offers no
view; see docs/monitoring.md.
"""

from __future__ import annotations

from typing import Any, get_args

from prometheus_client import Counter, Gauge, Histogram

from .mode import Mode, Name
from .signals import counted, mode_changed, refresh_failed, urls_reloaded

RELOADS = Counter(
    "cms_urlreload_reloads",
    "How often other apphook URLs were published, by what made the process look.",
    ["reason"],
)
DURATION = Histogram(
    "cms_urlreload_reload_duration_seconds",
    "What it took to build and publish them, the queries included.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
FAILURES = Counter(
    "cms_urlreload_refresh_failures",
    "Attempts to refresh the apphook URLs that failed; the last good ones kept serving.",
)
# With a label: a metric without one is there from its import on, and a master process that loads
# the application for its workers would count as one that polls.
MODE = Gauge(
    "cms_urlreload_mode",
    "1 for the way in which the process hears of changes, 0 for the other.",
    ["mode"],
    multiprocess_mode="liveall",
)
_COUNTED = {
    "token_reads": Counter(
        "cms_urlreload_token_reads",
        "Looks at the token for requests and tasks; an unchanged request takes none.",
    ),
    "notifications": Counter(
        "cms_urlreload_notifications",
        "Notifications from other processes and from triggers.",
    ),
    "heartbeats": Counter(
        "cms_urlreload_heartbeats",
        "Answers of the database to the listener's heartbeat.",
    ),
    "missed": Counter(
        "cms_urlreload_missed_changes",
        "Changes that a heartbeat found and nobody had announced.",
    ),
}

_UID = "cms_urlreload.metrics"


def connect() -> None:
    """Begin to count; called once, by the app's ready()."""
    urls_reloaded.connect(on_urls_reloaded, dispatch_uid=_UID)
    refresh_failed.connect(on_refresh_failed, dispatch_uid=_UID)
    mode_changed.connect(on_mode_changed, dispatch_uid=_UID)
    counted.connect(on_counted, dispatch_uid=_UID)


def on_urls_reloaded(seconds: float, reason: str, **kwargs: Any) -> None:
    """Count a reload."""
    RELOADS.labels(reason).inc()
    DURATION.observe(seconds)


def on_refresh_failed(**kwargs: Any) -> None:
    """Count a failure."""
    FAILURES.inc()


def on_mode_changed(mode: Mode, **kwargs: Any) -> None:
    """Show the mode."""
    for name in get_args(Name):
        MODE.labels(name).set(name == mode.name)


def on_counted(name: str, **kwargs: Any) -> None:
    """Count what is only counted."""
    _COUNTED[name].inc()
