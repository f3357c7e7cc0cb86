"""A picture of what a command has printed, as a terminal shows it: taken by Chromium."""

from __future__ import annotations

import html
from pathlib import Path

from playwright.sync_api import Browser

_PAGE = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; background: #1e2127; }}
pre {{ display: inline-block; margin: 0; padding: 16px 20px; color: #e6e6e6;
       font: 14px/1.4 "DejaVu Sans Mono", monospace; }}
b {{ color: #98c379; font-weight: normal; }}
</style><pre><b>$ {command}</b>\n{output}</pre>"""


def take_picture(browser: Browser, command: str, output: str, path: Path) -> None:
    """Write a PNG of a command and its output."""
    page = browser.new_page(viewport={"width": 1200, "height": 200})
    page.set_content(_PAGE.format(command=html.escape(command), output=html.escape(output)))
    page.locator("pre").screenshot(path=path)
    page.close()
