"""A plugin that links to an apphook."""

from __future__ import annotations

from typing import Any

from cms.plugin_base import CMSPluginBase
from cms.plugin_pool import plugin_pool
from django.urls import NoReverseMatch, reverse


@plugin_pool.register_plugin
class NewsLinkPlugin(CMSPluginBase):  # type: ignore[misc]  # untyped base
    name = "Link to the news"
    render_template = "members/news_link.html"

    def render(self, context: Any, instance: Any, placeholder: Any) -> Any:
        try:
            context["url"] = reverse("news:story-list")
        except NoReverseMatch:
            context["url"] = "nowhere"
        return context
