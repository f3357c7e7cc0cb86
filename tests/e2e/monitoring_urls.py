"""A root urlconf with what docs/monitoring.md tells to write, beside the demo site's own."""

from __future__ import annotations

import os
from datetime import timedelta

from django.http import HttpRequest, HttpResponse
from django.urls import path
from health_check.views import HealthCheckView
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from tests.demo.urls import urlpatterns as demo_urlpatterns

GRACE = timedelta(seconds=float(os.environ.get("MONITORING_GRACE", "60")))


def metrics(request: HttpRequest) -> HttpResponse:
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


urlpatterns = [
    path("metrics/", metrics),
    path(
        "ready/",
        HealthCheckView.as_view(checks=[("cms_urlreload.health.ApphookUrls", {"grace": GRACE})]),
    ),
    *demo_urlpatterns,
]
