"""Admin of the events app."""

from __future__ import annotations

from django.contrib import admin

from tests.demo.events.models import Event

admin.site.register(
    Event,
    list_display=("title", "slug", "date", "place"),
    prepopulated_fields={"slug": ("title",)},
)
