"""The permission of an apphook's views: that of their own page, and in each healthy state what
django CMS itself answers."""

from __future__ import annotations

import contextlib
import functools
import itertools
import random
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction
from cms import appresolver
from cms.api import create_page_content
from cms.appresolver import _get_app_patterns
from cms.middleware.page import get_page
from cms.models import Page, PagePermission, PageUrl
from cms.toolbar.toolbar import CMSToolbar
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sites.models import Site
from django.db import connection
from django.http import Http404, HttpResponse
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import Resolver404, path
from django.utils.functional import SimpleLazyObject
from django.utils.translation import override
from django.views import View

from cms_urlreload import process
from cms_urlreload.apphooks import build
from cms_urlreload.permission import allow, guarded
from cms_urlreload.state import State
from tests.demo.events.cms_apps import EventsApphook
from tests.demo.events.views import EventListView, EventView
from tests.support.versions import needs_sites_by_host, tree_row

pytestmark = pytest.mark.django_db

STATES = 25
PATHS = {
    "en": ["events/", "events/summer-party/", "events/below/", "home-event/", ""],
    "de": ["termine/", "termine/summer-party/", "termine/below/", "events/", ""],
}


@pytest.fixture(autouse=True)
def _no_resolvers_left(monkeypatch: Any) -> None:
    monkeypatch.setattr(appresolver, "APP_RESOLVERS", [])


@pytest.fixture(autouse=True)
def _views_that_answer(monkeypatch: Any) -> None:
    for view in (EventListView, EventView):
        monkeypatch.setattr(view, "get", lambda *args, **kwargs: HttpResponse())


@pytest.fixture
def current(monkeypatch: Any) -> State:
    """Have this process at current URLs: no refresh is due."""
    state = State()
    state.settle(state.marks)
    state.put_off(float("inf"))
    monkeypatch.setattr(process, "state", state)
    return state


@pytest.fixture
def users() -> dict[str, Any]:
    member = User.objects.create_user("member")
    staff = User.objects.create_user("staff", is_staff=True)
    superuser = User.objects.create_superuser("super")
    return {"anonymous": None, "member": member, "staff": staff, "super": superuser}


class Site_:  # noqa: N801
    """Pages with the events at three places, one of them the root, and a page below one."""

    def __init__(self, make_page: Callable[..., Any]) -> None:
        # The later a page is, the earlier its apphook is asked; that of the root answers a lot.
        self.home = make_page("home", "EventsApphook", namespace="home")
        self.home.set_as_homepage()
        self.events = make_page("events", "EventsApphook")
        self.below = make_page("below", parent=self.events)
        self.plain = make_page("plain")
        for page, slug in ((self.events, "termine"), (self.below, "unten"), (self.home, "start")):
            create_page_content("de", slug, page, slug=slug)

    @property
    def pages(self) -> list[Any]:
        return [self.events, self.below, self.home, self.plain]


@pytest.fixture
def site(make_page: Any) -> Site_:
    return Site_(make_page)


class Answer(NamedTuple):
    """What the view of a path answers, and how many queries that took."""

    resolvers_page: int | None
    status: int
    location: str | None
    queries: int
    current_page: Any


def ask(
    resolvers: list[Any], language: str, path_: str, user: Any, current_page: Any = None
) -> Answer | None:
    """Ask the view that these resolvers have for a path; None if there is none."""
    appresolver.APP_RESOLVERS = resolvers
    request = make_request(f"/{language}/{path_}", user)
    if current_page is not None:
        request.current_page = current_page
    with override(language):
        for resolver in resolvers:
            with contextlib.suppress(Resolver404):
                request.resolver_match = resolver.resolve(path_)
                return answer(resolver, request)
    return None


def answer(resolver: Any, request: Any) -> Answer:
    view, args, kwargs = request.resolver_match
    with CaptureQueriesContext(connection) as queries:
        try:
            response = view(request, *args, **kwargs)
        except Http404:
            response = HttpResponse(status=404)
    location = response.headers.get("Location")
    current_page = request.current_page or None
    return Answer(resolver.page_id, response.status_code, location, len(queries), current_page)


def make_request(path_: str, user: Any) -> Any:
    request: Any = RequestFactory().get(path_)
    # As of a request of its own: django CMS keeps permissions at the user.
    request.user = AnonymousUser() if user is None else User.objects.get(pk=user.pk)
    request.LANGUAGE_CODE = path_.split("/")[1]
    request.current_page = SimpleLazyObject(lambda: get_page(request))
    return request


def test_permission__is_that_of_django_cms__in_healthy_states(
    site: Site_, users: dict[str, Any], current: State, settings: Any, monkeypatch: Any
) -> None:
    random_ = random.Random(4)
    statuses: Counter[Any] = Counter()
    for _ in range(STATES):
        shuffle(site, users, settings, random_)
        monkeypatch.setattr(appresolver, "APP_RESOLVERS", [])
        theirs = _get_app_patterns(Site.objects.get_current())
        ours = build("default").resolvers
        for language, paths in PATHS.items():
            for path_, user in itertools.product(paths, users.values()):
                expected = ask(theirs, language, path_, user)
                found = ask(ours, language, path_, user)
                if expected is not None and expected.current_page.pk != expected.resolvers_page:
                    # A page that an apphook answers in place of. django CMS checks that page; here
                    # the page of the apphook has its say as well, which costs the query for it.
                    if expected.status == 200:
                        own = Page.objects.get(pk=expected.resolvers_page)
                        strict = ask(theirs, language, path_, user, own)
                        assert strict is not None
                        expected = expected._replace(status=strict.status, location=strict.location)
                elif expected is not None and found is not None:
                    # Before 5.0, django CMS reads the node of a page by itself.
                    assert found.queries <= expected.queries, (language, path_, user)
                assert without_queries(found) == without_queries(expected), (language, path_, user)
                statuses[expected and expected.status] += 1
    print(statuses)
    assert min(statuses[200], statuses[302], statuses[404]) > STATES


def without_queries(answer: Answer | None) -> Answer | None:
    return answer and answer._replace(queries=0)


def shuffle(site: Site_, users: dict[str, Any], settings: Any, random_: random.Random) -> None:
    """Bring about another state."""
    settings.CMS_PERMISSION = random_.random() < 0.7
    settings.CMS_PUBLIC_FOR = random_.choice(["all", "all", "staff"])
    PagePermission.objects.all().delete()
    for page in site.pages:
        is_private = random_.random() < 0.3
        Page.objects.filter(pk=page.pk).update(login_required=is_private)
        if random_.random() < 0.3:
            PagePermission.objects.create(
                page=Page.objects.get(pk=page.pk),
                user=users[random_.choice(["member", "staff"])],
                grant_on=random_.choice([1, 2, 5]),
                can_view=True,
            )
    # Two pages swap a path: of pages with the same apphook, or one without.
    one, other = random_.sample([site.events, site.home, site.plain], 2)
    urls = [PageUrl.objects.get(page=page, language="en") for page in (one, other)]
    paths = [url.path for url in urls]
    for url, path_ in zip(urls, ("x", paths[0]), strict=True):
        PageUrl.objects.filter(pk=url.pk).update(path=path_)
    PageUrl.objects.filter(pk=urls[0].pk).update(path=paths[1])


class TestStale:
    """The URLs are those of before a change."""

    @pytest.fixture(params=["not due", "due"], autouse=True)
    def _doubt(self, request: Any, current: State) -> None:
        if request.param == "due":
            current.mark_dirty()

    @pytest.fixture
    def stale(self, site: Site_) -> Callable[..., Any]:
        Page.objects.filter(pk=site.events.pk).update(login_required=self.is_private)
        resolvers = build("default").resolvers
        return lambda path_, language="en": ask(resolvers, language, path_, None).status  # type: ignore[union-attr]

    is_private = True

    def test_login_is_asked_for__when_a_public_page_takes_the_path(
        self, site: Site_, stale: Any
    ) -> None:
        PageUrl.objects.filter(page=site.events, language="en").update(path="club")
        PageUrl.objects.filter(page=site.plain, language="en").update(path="events")
        assert stale("events/") == 302
        assert stale("events/summer-party/") == 302

    def test_login_is_asked_for__when_the_page_moved(self, site: Site_, stale: Any) -> None:
        PageUrl.objects.filter(page=site.events, language="en").update(path="plain/events")
        assert stale("events/summer-party/") == 302


class TestStalePublic(TestStale):
    is_private = False

    def test_login_is_asked_for__when_a_public_page_takes_the_path(self) -> None:  # type: ignore[override]
        """Not here."""

    def test_login_is_asked_for__when_the_page_moved(self) -> None:  # type: ignore[override]
        """Not here."""

    @pytest.mark.parametrize("path_", ["events/", "events/x/"])
    @pytest.mark.parametrize(
        "change",
        [
            lambda page: page.delete(),
            lambda page: PageUrl.objects.filter(page=page).update(path=None),
            lambda page: PageUrl.objects.filter(page=page, language="en").update(path=None),
            lambda page: PageUrl.objects.filter(page=page, language="en").delete(),
            lambda page: Page.objects.filter(pk=page.pk).update(application_urls=None),
            lambda page: Page.objects.filter(pk=page.pk).update(application_urls="NewsApphook"),
        ],
        ids=["deleted", "unpublished", "in the language", "translation", "detached", "another"],
    )
    def test_nothing_is_shown(self, change: Any, path_: str, site: Site_, stale: Any) -> None:
        change(Page.objects.get(pk=site.events.pk))
        assert stale(path_) == 404

    def test_nothing_is_shown__of_a_page_of_another_site(self, site: Site_, stale: Any) -> None:
        other = Site.objects.create(domain="b.test", name="b")
        row = tree_row(site.events)
        type(row).objects.filter(pk=row.pk).update(site=other)
        if any(field.name == "site" for field in PageUrl._meta.fields):
            PageUrl.objects.filter(page=site.events).update(site=other)
        assert stale("events/x/") == 404

    def test_the_other_language_is_shown__when_one_is_unpublished(
        self, site: Site_, stale: Any
    ) -> None:
        PageUrl.objects.filter(page=site.events, language="de").update(path=None)
        assert stale("termine/", "de") == 404
        assert stale("events/") == 200

    def test_the_last_good_url_is_shown__when_the_page_moved(self, site: Site_, stale: Any) -> None:
        PageUrl.objects.filter(page=site.events, language="en").update(path="plain/events")
        assert stale("events/") == 200

    def test_login_is_asked_for__when_a_private_page_takes_the_path(
        self, site: Site_, stale: Any
    ) -> None:
        PageUrl.objects.filter(page=site.events, language="en").update(path="club")
        PageUrl.objects.filter(page=site.plain, language="en").update(path="events")
        Page.objects.filter(pk=site.plain.pk).update(login_required=True)
        assert stale("events/") == 302


def test_a_page_in_doubt__costs_one_query_more(site: Site_, current: State) -> None:
    resolvers = build("default").resolvers
    ask(resolvers, "en", "events/", None)  # what is asked once in a process
    before = ask(resolvers, "en", "events/", None)
    current.mark_dirty()
    after = ask(resolvers, "en", "events/", None)
    assert before is not None
    assert before.status == 200
    assert after == before._replace(queries=before.queries + 1)


def test_a_current_page_that_was_set_stays(site: Site_, current: State) -> None:
    [match] = [r.resolve("events/") for r in build("default").resolvers if r.namespace == "events"]
    request = make_request("/en/events/", None)
    request.current_page = site.plain
    assert match.func(request).status_code == 200
    assert request.current_page is site.plain


@needs_sites_by_host
def test_without_site_id__a_page_that_went_to_another_site_is_not_shown(
    site: Site_, current: State, settings: Any
) -> None:
    del settings.SITE_ID
    Site.objects.filter(pk=1).update(domain="testserver")
    Site.objects.clear_cache()
    resolvers = build("default").resolvers
    assert ask(resolvers, "en", "events/", None).status == 200  # type: ignore[union-attr]
    other = Site.objects.create(domain="b.test", name="b")
    Page.objects.filter(pk=site.events.pk).update(site=other)
    PageUrl.objects.filter(page=site.events).update(site=other)
    assert ask(resolvers, "en", "events/", None).status == 404  # type: ignore[union-attr]


class TestWrapping:
    """What is left of the view."""

    @pytest.fixture
    def wrap(self, make_page: Any, monkeypatch: Any) -> Callable[[Any], Any]:
        def wrap(view: Any) -> Any:
            patterns = [path("", view, name="root")]
            monkeypatch.setattr(EventsApphook, "get_urls", lambda *a, **k: [patterns])
            make_page("events", "EventsApphook", login_required=True)
            [resolver] = build("default").resolvers
            return resolver.resolve("events/").func

        return wrap

    def test_an_async_view_stays_one(self, wrap: Any, current: State) -> None:
        async def view(request: Any, **kwargs: Any) -> HttpResponse:
            return HttpResponse("shown")

        view.login_required = False  # type: ignore[attr-defined]  # as login_not_required() does
        view.csrf_exempt = True  # type: ignore[attr-defined]
        wrapped = wrap(view)
        assert iscoroutinefunction(wrapped)
        assert wrapped.login_required is False
        assert wrapped.csrf_exempt is True
        page = Page.objects.get()
        for user, expected in ((AnonymousUser(), 302), (User.objects.create_user("m"), 200)):
            request = SimpleNamespace(
                current_page=page, user=user, site=Site.objects.get(), get_full_path=lambda: "/x/"
            )
            assert async_to_sync(wrapped)(request).status_code == expected

    def test_its_names_are_those_that_django_cms_gives(self, wrap: Any) -> None:
        class Callable_:  # noqa: N801
            def __call__(self, request: Any) -> HttpResponse:
                return HttpResponse()

        class Classy(View):
            """Docs."""

        def plain(request: Any) -> HttpResponse:
            return HttpResponse()

        names = ("__module__", "__name__", "__qualname__", "__doc__", "view_class", "csrf_exempt")
        for view in (Callable_(), Classy.as_view(), plain, functools.partial(plain)):
            ours, theirs = guarded(view, allow), appresolver_perms(view)
            for name in names:
                if name == "__doc__" and isinstance(view, functools.partial):
                    continue
                assert getattr(ours, name, None) == getattr(theirs, name, None), (view, name)

    def test_the_toolbar_finds_the_app_of_the_view(
        self, make_page: Any, users: Any, current: State, settings: Any
    ) -> None:
        from django.urls import clear_url_caches

        from cms_urlreload.urltree import Publisher

        make_page("events", "EventsApphook")
        Publisher().publish(build("default").resolvers)
        try:
            request = make_request("/en/events/", users["staff"])
            request.session = {}
            with override("en"):
                assert CMSToolbar(request).app_name == "tests.demo.events"
        finally:
            Publisher().publish([])
            clear_url_caches()


def appresolver_perms(view: Any) -> Any:
    from cms.utils.decorators import cms_perms

    return cms_perms(view)
