"""Creates the demo's content where it is missing: a superuser, pages in two languages, objects.

Needs Django to be set up; ``python -m tests.demo.manage demo_content`` does that.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

from cms.api import create_page, create_page_content
from cms.models import Page, PageContent
from django.contrib.auth import get_user_model
from django.contrib.sites.models import Site
from django.db import transaction

from tests.demo.events.models import Event
from tests.demo.news.models import Story

USER = PASSWORD = "admin"


@dataclass(frozen=True)
class DemoPage:
    """A page to create; ``titles`` and ``slugs`` by language."""

    key: str
    titles: dict[str, str]
    slugs: dict[str, str]
    apphook: str | None = None
    namespace: str | None = None


PAGES = (
    DemoPage("home", {"en": "Home", "de": "Start"}, {"en": "home", "de": "start"}),
    DemoPage(
        "news",
        {"en": "News", "de": "Neues"},
        {"en": "news", "de": "neues"},
        apphook="NewsApphook",
        namespace="news",
    ),
    DemoPage(
        "events",
        {"en": "Events", "de": "Termine"},
        {"en": "events", "de": "termine"},
        apphook="EventsApphook",
        namespace="events",
    ),
    DemoPage("about", {"en": "About", "de": "Impressum"}, {"en": "about", "de": "impressum"}),
)
STORIES = (("First story", "first-story"), ("Second story", "second-story"))
EVENTS = (("Summer party", "summer-party", "Garden"), ("Sprint", "sprint", "Library"))


@transaction.atomic
def create_content(*, apphooks: bool = True) -> dict[str, Any]:
    """Create what is missing; return ``{key: {"id": ..., "contents": {language: id}}}``.

    ``apphooks`` says whether new pages get theirs; pages that exist are left as they are.
    """
    _set_site()
    _create_superuser()
    _create_objects()
    return {page.key: _describe(_ensure_page(page, apphooks=apphooks)) for page in PAGES}


def _set_site() -> Site:
    """The site of 127.0.0.1, which is also found by the host where SITE_ID is not set."""
    site, _ = Site.objects.update_or_create(pk=1, defaults={"domain": "127.0.0.1", "name": "Demo"})
    Site.objects.clear_cache()
    return site


def _create_superuser() -> None:
    users = get_user_model()._default_manager
    if not users.filter(username=USER).exists():
        users.create_superuser(USER, "admin@example.com", PASSWORD)


def _create_objects() -> None:
    for number, (title, slug) in enumerate(STORIES):
        published = datetime.date(2024 + number, 5, 1)
        text = "The URL of this story depends on the page that the apphook is attached to."
        Story.objects.get_or_create(
            slug=slug, defaults={"title": title, "text": text, "published": published}
        )
    for number, (title, slug, place) in enumerate(EVENTS):
        date = datetime.date(2030, 6, 1 + number)
        Event.objects.get_or_create(
            slug=slug, defaults={"title": title, "place": place, "date": date}
        )


def _ensure_page(wanted: DemoPage, *, apphooks: bool) -> Page:
    """The page is known again by its reverse id, whatever an editor did to its slugs since."""
    site = Site.objects.get(pk=1)
    page = Page.objects.filter(reverse_id=wanted.key, **_on(site)).first()
    if page is None:
        page = create_page(
            wanted.titles["en"],
            "demo/page.html",
            "en",
            slug=wanted.slugs["en"],
            reverse_id=wanted.key,
            site=site,
            in_navigation=True,
            apphook=wanted.apphook if apphooks else None,
            apphook_namespace=wanted.namespace if apphooks else None,
        )
        if wanted.key == "home":
            page.set_as_homepage()
    for language, title in wanted.titles.items():
        if not PageContent.admin_manager.filter(page=page, language=language).exists():
            create_page_content(
                language,
                title,
                page,
                slug=wanted.slugs[language],
                template="demo/page.html",
                in_navigation=True,
            )
    return page


def _on(site: Site) -> dict[str, Any]:
    """The filter for the pages of a site: until django CMS 4.1 their nodes have it."""
    return {"node__site" if hasattr(Page, "node") else "site": site}


def _describe(page: Page) -> dict[str, Any]:
    contents = PageContent.admin_manager.filter(page=page).values_list("language", "pk")
    return {"id": page.pk, "contents": dict(contents)}
