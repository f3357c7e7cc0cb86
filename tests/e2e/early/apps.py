from __future__ import annotations

from django.apps import AppConfig


class EarlyConfig(AppConfig):
    name = "tests.e2e.early"

    def ready(self) -> None:
        from django.urls import resolve
        from django.utils.translation import override

        for language, path in (("en", "events"), ("de", "termine")):
            with override(language):
                assert resolve(f"/{language}/{path}/").url_name == "shared"
