"""The news app."""

from __future__ import annotations

from django.apps import AppConfig


class NewsConfig(AppConfig):
    """News: a list, stories, an archive, and a menu of them."""

    name = "tests.demo.news"
    label = "news"
    verbose_name = "News"
    default_auto_field = "django.db.models.BigAutoField"
