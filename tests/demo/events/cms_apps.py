"""The apphook of the events app."""

from __future__ import annotations

from typing import Any

from cms.app_base import CMSApp
from cms.apphook_pool import apphook_pool


@apphook_pool.register
class EventsApphook(CMSApp):  # type: ignore[misc]  # untyped base
    """Attach it to a page to have the events there."""

    app_name = "events"
    name = "Events"

    def get_urls(
        self, page: object = None, language: str | None = None, **kwargs: Any
    ) -> list[str]:
        return ["tests.demo.events.urls"]
