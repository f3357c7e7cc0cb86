"""A command that runs for hours: it answers each line of its input, a URL's name, with the URL."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand
from django.urls import NoReverseMatch, reverse
from django.utils.translation import override

from cms_urlreload.tasks import ensure_fresh


class Command(BaseCommand):
    def handle(self, *args: Any, **options: Any) -> None:
        with override("en"):
            for line in sys.stdin:
                ensure_fresh()
                try:
                    self.stdout.write(reverse(line.strip()))
                except NoReverseMatch:
                    self.stdout.write("-")
                self.stdout.flush()
