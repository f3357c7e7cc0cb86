"""Creates apphook pages ``bench-0``, ``bench-1`` and so on."""

from __future__ import annotations

from typing import Any

from cms.api import create_page
from django.core.management.base import BaseCommand, CommandParser
from django.db import transaction


class Command(BaseCommand):
    """``bench_pages COUNT``."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("count", type=int)

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        for number in range(options["count"]):
            slug = f"bench-{number}"
            create_page(
                slug,
                "demo/page.html",
                "en",
                slug=slug,
                apphook="BenchApphook",
                apphook_namespace=slug,
            )
