"""The pytest fixture ``current_urls``, found by pytest itself wherever this package is installed.

Imports nothing of Django before a test asks for the fixture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest


@pytest.fixture
def current_urls() -> Iterator[Callable[[], None]]:
    """Have the URLs follow what the test writes, committed or not: apphook pages that it creates
    are there for its next request. The value is a function to call before a reverse() without a
    request. See cms_urlreload.testing.current_urls()."""
    from .testing import current_urls

    with current_urls() as refresh:
        yield refresh
