"""Admin of the news app."""

from __future__ import annotations

from django.contrib import admin

from tests.demo.news.models import Story

admin.site.register(
    Story,
    list_display=("title", "slug", "published"),
    prepopulated_fields={"slug": ("title",)},
)
