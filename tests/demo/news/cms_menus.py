"""A menu of stories below the page with the news.

Its ``reverse`` fails while the apphook is not routed; django CMS then drops the whole menu, so a
worker with old URLs shows.
"""

from __future__ import annotations

from cms.menu_bases import CMSAttachMenu
from django.http import HttpRequest
from django.urls import reverse
from menus.base import NavigationNode
from menus.menu_pool import menu_pool

from tests.demo.news.models import Story


@menu_pool.register_menu
class NewsMenu(CMSAttachMenu):  # type: ignore[misc]  # untyped base
    """One node for each story."""

    name = "News stories"

    def get_nodes(self, request: HttpRequest) -> list[NavigationNode]:
        return [
            NavigationNode(story.title, reverse("news:story", args=[story.slug]), story.pk)
            for story in Story.objects.all()
        ]
