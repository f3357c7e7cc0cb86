"""How long the tests of endurance take: a part of what they promise by default, and all of it with
``CMS_URLRELOAD_TEST_FULL=1``. The code is the same."""

from __future__ import annotations

import os

FULL = bool(os.environ.get("CMS_URLRELOAD_TEST_FULL"))


def length(short: int, full: int) -> int:
    """Return the number of whatever it is, for this run."""
    return full if FULL else short
