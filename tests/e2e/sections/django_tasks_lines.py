"""Django's tasks, or their backport: a worker that answers each line, a URL's name, by a task.

Not a line is about URLs: that each task finds them right all the same is what is tested.
"""

from __future__ import annotations

import sys
from typing import Any

import django
from django.urls import NoReverseMatch, reverse
from django.utils.translation import override

if django.VERSION >= (6, 0):
    from django.tasks import task
else:
    from django_tasks import task  # type: ignore[no-redef]


@task
def reverse_name(name: str) -> str:
    with override("en"):
        try:
            return reverse(name)
        except NoReverseMatch:
            return "-"


def work() -> None:
    # A module of its own, and not __main__: a task is found by its path.
    from tests.e2e.sections.django_tasks_lines import reverse_name as named

    for line in sys.stdin:
        result: Any = named.enqueue(line.strip())
        print(result.return_value, flush=True)


if __name__ == "__main__":
    django.setup()
    work()
