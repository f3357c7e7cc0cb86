"""The root urlconf of the controls, and what shows which URLs are served."""

from __future__ import annotations

from django.urls import path

from tests.e2e.controls.urls import urlpatterns as controls_urlpatterns
from tests.e2e.routes.views import served

urlpatterns = [path("served/", served), *controls_urlpatterns]
