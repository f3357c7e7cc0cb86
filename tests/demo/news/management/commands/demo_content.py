"""Creates the demo site's content and prints, as JSON, the ids of its pages."""

from __future__ import annotations

import json
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

from tests.demo.content import create_content


class Command(BaseCommand):
    """``demo_content [--migrate] [--no-apphooks]``."""

    help = "Create the demo's users, pages, stories and events where they are missing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--migrate", action="store_true", help="migrate first")
        parser.add_argument("--no-apphooks", action="store_false", dest="apphooks")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["migrate"]:
            call_command("migrate", interactive=False, verbosity=0)
        self.stdout.write(json.dumps(create_content(apphooks=options["apphooks"])))
