from __future__ import annotations

from django.apps import AppConfig


class StorefrontConfig(AppConfig):
    name = "tests.e2e.storefront"
    label = "storefront"
