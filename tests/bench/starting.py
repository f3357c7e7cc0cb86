"""``python -m tests.bench.starting``: a process that starts as a web server's worker does, up to
its first request, and says what that took.
"""

import time

_BEGAN = time.perf_counter(), time.process_time()

import json  # noqa: E402  # the imports are what is measured
import sys  # noqa: E402
import threading  # noqa: E402


def main() -> None:
    import django

    django.setup()

    from django.core.handlers.wsgi import WSGIHandler

    WSGIHandler()
    wall, cpu = time.perf_counter() - _BEGAN[0], time.process_time() - _BEGAN[1]

    from django.db import connections

    found = {
        "wall": wall,
        "cpu": cpu,
        "modules": sorted(sys.modules),
        "threads": [thread.name for thread in threading.enumerate()],
        "connections": [each.alias for each in connections.all() if each.connection is not None],
    }
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
