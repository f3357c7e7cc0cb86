from __future__ import annotations

from django.apps import AppConfig


class SectionsConfig(AppConfig):
    name = "tests.e2e.sections"
    label = "sections"
    default_auto_field = "django.db.models.BigAutoField"
