"""Sphinx: ``make docs``. The pages are Markdown, and read as well where nobody has built them."""

from cms_urlreload import __version__

project = "django-cms-urlreload"
author = "The django-cms-urlreload maintainers"
release = version = __version__

extensions = ["myst_parser"]
# Headings can be linked to as on a code host: page.md#a-heading.
myst_heading_anchors = 3
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"{project} {version}"
html_show_copyright = False
