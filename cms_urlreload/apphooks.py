"""The apphook URLs that the database asks for: which rows decide them, and the resolvers built
from those rows.

The only module that uses what builds URLs in django CMS, private parts of it included. It follows
``cms.appresolver._get_app_patterns`` with five differences: a database error is raised instead of
read as "no apphooks"; nothing is published while it builds; what did not change is used again;
the patterns of a page are made when they are asked for, of what they were at the build; and the
permission that is checked is that of the page that they were built for.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from cms import appresolver
from cms.apphook_pool import apphook_pool
from cms.appresolver import get_app_urls
from cms.models import Page, PageUrl
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import router
from django.db.models import QuerySet
from django.urls import URLPattern
from django.utils.translation import activate, get_language, override

from .hookresolver import Hooked, HookResolver, Pattern, literal_prefix
from .patterns import Snapshot, Snapshots, hook_in
from .permission import PageGuard, Refuse, allow, guarded

# Where a page keeps its place in the tree and its site: with a node of its own until django CMS
# 4.1, in its own row since 5.0.
_NODE = "node__" if any(field.name == "node" for field in Page._meta.concrete_fields) else ""
#: The model whose rows have the place in the tree and the site.
TREE_MODEL: Any = Page._meta.get_field("node").related_model if _NODE else Page
_PAGE_FIELDS = [field.attname for field in Page._meta.concrete_fields]
_NODE_FIELDS = [field.attname for field in TREE_MODEL._meta.concrete_fields] if _NODE else []
#: Lookups, from PageUrl, of all columns of the page, and of its node.
_PAGE_COLUMNS = tuple(
    [f"page__{name}" for name in _PAGE_FIELDS] + [f"page__{_NODE}{name}" for name in _NODE_FIELDS]
)
#: Lookup, from PageUrl, of the column that orders apphooks against each other.
TREE_PATH = f"page__{_NODE}path"
#: Lookups, from PageUrl, of all other columns that decide routing, texts and integers. Since
#: django CMS 5.1 a URL keeps its page's site in its own row as well, and is selected by that.
ROUTING_TEXTS = ("path", "language", "page__application_urls", "page__application_namespace")
ROUTING_NUMBERS = (
    "page_id",
    f"page__{_NODE}site_id",
    *("site_id" for field in PageUrl._meta.concrete_fields if field.attname == "site_id"),
)
ROUTING_COLUMNS = ROUTING_TEXTS + ROUTING_NUMBERS


class Hook(NamedTuple):
    """The resolver of one page's apphook, and all that it was made of."""

    ingredients: tuple[Any, ...]
    resolver: HookResolver


class AppTree(NamedTuple):
    """All apphook resolvers of one state of the database, in the order in which they match."""

    hooks: dict[int, Hook]
    resolvers: list[HookResolver]
    snapshots: Snapshots


def site_id() -> int | None:
    """Return the site whose apphooks this process serves; None for all (no ``SITE_ID``).

    :raises ImproperlyConfigured: without ``SITE_ID``, before django CMS 5.1.
    """
    value = getattr(settings, "SITE_ID", None)
    if value is not None:
        return int(value)
    # Without the filter, the apphooks of each site would answer on all of them.
    if not hasattr(appresolver, "_set_site_filter"):
        raise ImproperlyConfigured("SITE_ID is not set: django CMS needs it before version 5.1.")
    return None


def routed_urls(alias: str) -> QuerySet[Any]:
    """Return the rows of PageUrl that apphooks hang on, in no order, unevaluated."""
    urls = PageUrl.objects.db_manager(alias)
    site = site_id()
    urls = urls.all() if site is None else urls.get_for_site(site)
    urls = urls.filter(path__isnull=False, page__application_urls__isnull=False)
    return urls.exclude(page__application_urls="")  # type: ignore[no-any-return]


def build(alias: str, previous: AppTree | None = None) -> AppTree:
    """Build the resolvers of all apphooks, in one query, and publish nothing.

    Executes the ``get_urls()`` of the apphooks, as django CMS does, and lets what they raise
    pass.

    :param alias: the database to read.
    :param previous: a tree whose resolvers are used again for pages where nothing changed.
    """
    hooks: dict[int, Hook] = {}
    snapshots = Snapshots(previous.snapshots if previous else None)
    made: set[tuple[Any, ...]] = set()
    is_site_checked = site_id() is None
    for page, plan in _plans(alias, is_site_checked, snapshots):
        old = previous.hooks.get(page.pk) if previous else None
        if old is not None and old.ingredients == plan:
            hooks[page.pk] = old
            continue
        resolver = _resolver(plan)
        if _look(plan) not in made:
            # What is wrong with an app is to be found now, and not by a request.
            list(resolver.url_patterns_dict.values())
            made.add(_look(plan))
        hooks[page.pk] = Hook(plan, resolver)
    snapshots.forget_previous()
    return AppTree(hooks, [hook.resolver for hook in hooks.values()], snapshots)


def _plans(alias: str, is_site_checked: bool, snapshots: Snapshots) -> Iterable[tuple[Any, _Plan]]:
    plans = []
    # The language is switched where that of the next URL is another, and put back once: for a
    # thousand pages that is a fifth of a build.
    with override(get_language()):
        for page, urls in _by_page(alias):
            app = apphook_pool.get_apphook(page.application_urls)
            if app is not None:  # else registered no more; django CMS has warned
                plans.append((page, _plan(app, page, urls, is_site_checked, snapshots)))
    return plans


class _Url(NamedTuple):
    language: str
    path: str


def _by_page(alias: str) -> Iterable[tuple[Any, list[_Url]]]:
    """Group the rows by page, later siblings first, without what would be hooked in twice."""
    pages: dict[int, tuple[Any, list[_Url]]] = {}
    seen = set()
    # One object for each page, and none for each URL: most pages have not changed.
    for language, path, application, page_id, *columns in _page_rows(alias, site_id()).all():
        identity = (path, application, language)
        if identity in seen:
            continue
        seen.add(identity)
        if page_id not in pages:
            pages[page_id] = (_page(alias, columns), [])
        pages[page_id][1].append(_Url(language, path))
    return pages.values()


@functools.lru_cache(maxsize=16)
def _page_rows(alias: str, site: int | None) -> QuerySet[Any, Any]:
    """Return the query for what resolvers are built from, unevaluated. To make it takes as long as
    the server needs for it."""
    # The site is in the rows' condition; it is a parameter here to be remembered by.
    rows = routed_urls(alias).order_by(f"-{TREE_PATH}", "language", "pk")
    return rows.values_list("language", "path", "page__application_urls", "page_id", *_PAGE_COLUMNS)


def _page(alias: str, columns: list[Any]) -> Any:
    """Return the page of a row, as a query for it would."""
    page = Page.from_db(alias, _PAGE_FIELDS, columns[: len(_PAGE_FIELDS)])
    if _NODE:
        page.node = TREE_MODEL.from_db(alias, _NODE_FIELDS, columns[len(_PAGE_FIELDS) :])
    return page


class _Plan(NamedTuple):
    """All that decides what the resolver of a page matches, and leads to. A resolver makes its
    patterns of this alone, whenever it is asked."""

    app: Any
    permissions: bool
    excluded: tuple[str | None, ...]
    page_id: int
    application: str
    namespace: str
    page_site: int
    is_site_checked: bool
    #: The URLs, each with the lists of patterns below it.
    urls: tuple[tuple[_Url, tuple[Snapshot, ...]], ...]


def _plan(
    app: Any, page: Any, urls: list[_Url], is_site_checked: bool, snapshots: Snapshots
) -> _Plan:
    return _Plan(
        app,
        bool(app.permissions),
        tuple(app.exclude_permissions),
        page.pk,
        page.application_urls,
        page.application_namespace,
        _site_of(page),
        is_site_checked,
        tuple((url, _app_patterns(app, page, url.language, snapshots)) for url in urls),
    )


def _app_patterns(app: Any, page: Any, language: str, snapshots: Snapshots) -> tuple[Snapshot, ...]:
    """Return the lists of patterns that the app hangs on one URL of its page, as they are now."""
    if get_language() != language:
        activate(language)
    return tuple(map(snapshots.of, get_app_urls(app.get_urls(page, language))))


def _look(plan: _Plan) -> tuple[Any, ...]:
    """Return what pages have in common whose patterns are made alike."""
    return plan.app, tuple((url.language, below) for url, below in plan.urls)


def _resolver(plan: _Plan) -> HookResolver:
    hooked = {}
    for url, below in plan.urls:
        are_appendable = all(each.is_appendable(url.language) for each in below)
        prefix = literal_prefix(_prefix(url.path), are_appendable)
        hooked[url.language] = Hooked(prefix, functools.partial(_hook_in, plan, url, below))
    views = {name for _, below in plan.urls for each in below for name in each.views}
    return HookResolver(plan.app.app_name, plan.namespace, plan.page_id, hooked, views)


def _hook_in(plan: _Plan, url: _Url, below: tuple[Snapshot, ...]) -> list[Pattern]:
    """Make the patterns of one URL of a page."""
    hooked: list[Pattern] = []
    # A regular expression may be translated: it is read in the language of the URL.
    with override(url.language):
        for snapshot in below:
            hooked += hook_in(_prefix(url.path), snapshot.nodes, plan.page_id)
    if plan.permissions:
        find = functools.partial(_find_page, plan, url.language)
        _protect(hooked, plan.excluded, PageGuard(plan.page_id, plan.application, find))
    if plan.is_site_checked:
        _protect(hooked, (), _refuse_others(plan.page_site))
    return hooked


def _refuse_others(page_site: int) -> Refuse:
    """Return the check of django CMS that a request is for this site."""
    from cms.utils.decorators import cms_site_filter  # since django CMS 5.1, as all of this

    return cms_site_filter(page_site)(allow)  # type: ignore[no-any-return]


def _prefix(path: str) -> str:
    return path + "/" if path and not path.endswith("/") else path


def _site_of(page: Any) -> int:
    return page.node.site_id if _NODE else page.site_id  # type: ignore[no-any-return]


def _protect(patterns: Iterable[Pattern], excluded: Collection[str | None], refuse: Refuse) -> None:
    for pattern in patterns:
        if isinstance(pattern, URLPattern):
            pattern.callback = guarded(pattern.callback, refuse)
        elif pattern.namespace not in excluded:
            _protect(pattern.url_patterns, excluded, refuse)


def _find_page(plan: _Plan, language: str) -> Any:
    """Return the page if it still has the apphook and a URL in the language, else None."""
    urls = routed_urls(router.db_for_read(PageUrl)).filter(
        page_id=plan.page_id,
        language=language,
        page__application_urls=plan.application,
        **{f"page__{_NODE}site_id": plan.page_site},
    )
    url = urls.select_related("page__node" if _NODE else "page").first()
    return None if url is None else url.page
