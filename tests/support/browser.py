"""A real Chromium without a screen: Debian's, driven by Playwright. Refuses to look for updates,
and to leave the loopback.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from typing import Any

from playwright.sync_api import Browser, sync_playwright


def missing() -> str:
    """Why there can be no browser on this machine; empty if there can."""
    return "" if shutil.which("chromium") else "no chromium: apt install chromium"


@contextlib.contextmanager
def open_browser() -> Iterator[Browser]:
    """Start it; end it with the block."""
    options: dict[str, Any] = {
        "executable_path": shutil.which("chromium"),
        "args": [
            "--no-sandbox",  # it refuses to run as root with one
            "--disable-background-networking",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        ],
    }
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**options)
        try:
            yield browser
        finally:
            browser.close()
