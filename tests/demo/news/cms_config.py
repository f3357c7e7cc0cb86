"""Tells django CMS that the toolbar can show and edit stories."""

from __future__ import annotations

from cms.app_base import CMSAppConfig

from tests.demo.news.models import Story
from tests.demo.news.views import render_story


class NewsCMSConfig(CMSAppConfig):  # type: ignore[misc]  # untyped base
    cms_enabled = True
    cms_toolbar_enabled_models = [(Story, render_story)]  # noqa: RUF012
