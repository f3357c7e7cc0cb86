"""The archive: a second list of URLs for the same apphook."""

from __future__ import annotations

from django.urls import path

from tests.demo.news import views

urlpatterns = [path("archive/<int:year>/", views.archive, name="archive")]
