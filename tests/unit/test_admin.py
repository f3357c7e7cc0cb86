"""The page "Apphook URLs" in the admin."""

from __future__ import annotations

import gettext
import html
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cms.api import create_page_content
from django.contrib.auth.models import Permission, User
from django.contrib.messages import get_messages
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.translation import override

import cms_urlreload
from cms_urlreload import commit_hook, history, process
from cms_urlreload.admin import WHY
from cms_urlreload.signals import urls_reloaded
from cms_urlreload.state import REASONS, Reason, State
from cms_urlreload.transports import PollingTransport

from .conftest import dsn

pytestmark = pytest.mark.django_db

PAGE = "/en/admin/cms_urlreload/apphookurls/"
RELOAD = f"{PAGE}reload/"


@pytest.fixture
def login() -> Callable[..., Client]:
    """Log in somebody of the staff who has these permissions."""

    def log_in(*permissions: str) -> Client:
        user = User.objects.create_user("somebody", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        assert user.user_permissions.count() == len(permissions)
        client = Client()
        client.force_login(user)
        return client

    return log_in


@pytest.fixture
def worker() -> Iterator[Callable[[str], None]]:
    """Be a worker of some host: what pg_stat_activity knows of one is the name of its session."""
    sessions = []

    def listen(name: str) -> None:
        sessions.append(psycopg.connect(dsn(), application_name=f"cms-urlreload {name}"))

    yield listen
    for session in sessions:
        session.close()


def token() -> str:
    """What is in the database. Not from report_fleet(): a transaction sees pg_stat_activity as it
    was when it looked at it first."""
    return process.get_transport().read_token("default").short


def text_of(client: Client, url: str = PAGE) -> str:
    """The page, as it is read."""
    answer = client.get(url)
    assert answer.status_code == 200
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", answer.content.decode())).split())


class TestWhoMay:
    def test_nobody_who_is_not_logged_in(self, client: Client) -> None:
        for url in (PAGE, RELOAD):
            assert client.get(url)["Location"].startswith("/en/admin/login/")

    def test_not_somebody_without_the_permission(self, login: Any) -> None:
        client = login()
        assert client.get(PAGE).status_code == 403
        assert client.get(f"{PAGE}?live").status_code == 403
        assert client.post(RELOAD).status_code == 403
        assert PAGE not in client.get("/en/admin/").content.decode()

    def test_somebody_who_may_see_it__and_not_press_the_button(self, login: Any) -> None:
        client = login("view_apphookurls")
        before = token()
        assert PAGE in client.get("/en/admin/").content.decode()
        assert "Reload all workers" not in client.get(PAGE).content.decode()
        assert client.post(RELOAD).status_code == 403
        assert token() == before

    def test_not_somebody_who_may_press_the_button__and_not_see_it(self, login: Any) -> None:
        client = login("reload_urls")
        assert client.get(PAGE).status_code == 403
        assert client.post(RELOAD).status_code == 403

    def test_somebody_who_may_do_both(self, login: Any) -> None:
        client = login("view_apphookurls", "reload_urls")
        assert "Reload all workers" in client.get(PAGE).content.decode()
        assert client.post(RELOAD).status_code == 302


class TestButton:
    def test_it_announces__and_says_so_once(
        self, admin_client: Client, django_capture_on_commit_callbacks: Any
    ) -> None:
        before = token()
        with django_capture_on_commit_callbacks() as callbacks:
            answer = admin_client.post(RELOAD)
        assert commit_hook._announce in [getattr(hook, "func", None) for hook in callbacks]
        assert answer["Location"] == PAGE
        assert token() != before
        admin_client.get(f"{PAGE}?live")  # what fetches itself takes no message away
        shown = admin_client.get(PAGE)
        [message] = get_messages(shown.wsgi_request)
        assert "Announced: every worker" in str(message)
        assert "Announced: every worker" in shown.content.decode()
        assert "Announced: every worker" not in admin_client.get(PAGE).content.decode()

    def test_it_is_no_link(self, admin_client: Client) -> None:
        assert admin_client.get(RELOAD).status_code == 405

    def test_another_site_cannot_press_it(self, admin_user: User) -> None:
        client = Client(enforce_csrf_checks=True)
        client.force_login(admin_user)
        assert client.post(RELOAD).status_code == 403
        form = client.get(PAGE).content.decode()
        [token] = re.findall(
            rf'action="{RELOAD}".*?name="csrfmiddlewaretoken" value="(\w+)"', form, re.DOTALL
        )
        assert client.post(RELOAD, {"csrfmiddlewaretoken": token}).status_code == 302


class TestWorkers:
    def test_of_all_hosts(self, admin_client: Client, worker: Any) -> None:
        worker(f"{token()} 11@alpha")
        worker("0123abcd* 12@alpha")
        worker("0123abcd 13@beta")
        worker("-* 14@beta")
        text = text_of(admin_client)
        assert "4 workers are told of changes. 1 is behind" in text
        when = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
        assert re.search(rf"alpha 11 current {token()} {when}", text)
        assert re.search(rf"alpha 12 current at its next request 0123abcd {when}", text)
        assert re.search(rf"beta 13 behind 0123abcd {when}", text)
        assert re.search(rf"beta 14 current at its next request . {when}", text)
        assert "pg_read_all_stats" not in text

    def test_that_are_all_current(self, admin_client: Client, worker: Any) -> None:
        worker(f"{token()} 11111@alpha")
        text = text_of(admin_client)
        assert "1 worker is told of changes. none is behind" in text
        assert "alpha 11111 current" in text

    def test_nobody(self, admin_client: Client) -> None:
        assert "No worker is told of changes." in text_of(admin_client)

    def test_for_a_role_that_does_not_see_since_when(
        self, admin_client: Client, worker: Any
    ) -> None:
        worker(f"{token()} 11@alpha")
        with connection.cursor() as cursor:  # all of it is gone with the test's transaction
            cursor.execute("CREATE ROLE the_site")
            cursor.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO the_site")
            cursor.execute("SET LOCAL ROLE the_site")
        text = text_of(admin_client)
        assert re.search(r"alpha 11 current [0-9a-f]{8} . ", text)
        assert "it does to members of pg_read_all_stats" in text

    def test_where_nothing_pushes(self, admin_client: Client, monkeypatch: Any) -> None:
        monkeypatch.setattr(process, "_transport", PollingTransport(State(), "it is a test."))
        text = text_of(admin_client)
        assert "Nothing pushes from postgresql here" in text
        assert "(POLL_INTERVAL: 1 s)" in text
        assert re.search(r"It asks \(poll\), since \S+ \S+: it is a test\.", text)


class TestRoutes:
    def test_each_page_and_language(self, admin_client: Client, make_page: Any) -> None:
        page = make_page("news", "NewsApphook", namespace="press")
        create_page_content("de", "Neues", page, slug="neues")
        make_page("plain")
        text = text_of(admin_client)
        assert "News en /news/ NewsApphook press example.com" in text
        assert "Neues de /neues/ NewsApphook press example.com" in text
        assert "/plain/" not in text
        link = f'<a href="/en/admin/cms/page/{page.pk}/advanced-settings/">News</a>'
        assert link in admin_client.get(PAGE).content.decode()
        assert "Advanced Settings" in text_of(admin_client, link.split('"')[1])

    def test_no_link_for_somebody_who_may_not_change_pages(
        self, login: Any, make_page: Any
    ) -> None:
        make_page("news", "NewsApphook")
        text = login("view_apphookurls").get(PAGE).content.decode()
        assert '<th scope="row">News</th>' in text

    def test_more_pages_cost_no_more_queries(self, admin_client: Client, make_page: Any) -> None:
        def count() -> int:
            admin_client.get(PAGE)  # django CMS writes a revision after a page was made
            with CaptureQueriesContext(connection) as queries:
                admin_client.get(PAGE)
            return len(queries)

        make_page("one", "NewsApphook")
        before = count()
        make_page("two", "NewsApphook")
        make_page("three", "EventsApphook")
        assert count() == before

    def test_none(self, admin_client: Client) -> None:
        assert "No page has an apphook." in text_of(admin_client)


class TestFindings:
    def test_none(self, admin_client: Client) -> None:
        assert "The system checks of this package find nothing wrong." in text_of(admin_client)

    def test_each_with_its_hint(self, admin_client: Client, settings: Any) -> None:
        settings.CMS_URLRELOAD = {"CONFIG_MODELS": ["news.Novel"]}
        text = text_of(admin_client)
        assert "cms_urlreload.E004" in text
        assert "'news.Novel', and there is no such model." in text
        assert "its app must be in INSTALLED_APPS." in text

    def test_triggers_that_are_not_there(self, admin_client: Client) -> None:
        with connection.cursor() as cursor:  # rolled back with the test
            cursor.execute(
                "SELECT DISTINCT tgname FROM pg_trigger WHERE tgname LIKE 'cms_urlreload%' "
                "AND tgrelid = 'cms_pageurl'::regclass"
            )
            for (name,) in cursor.fetchall():
                cursor.execute(f'DROP TRIGGER "{name}" ON cms_pageurl')
        text = text_of(admin_client)
        assert "cms_urlreload_pg.W005" in text
        assert "manage.py migrate cms_urlreload_pg" in text


class TestReloads:
    @pytest.fixture(autouse=True)
    def _no_reloads(self) -> Iterator[None]:
        history._reloads.clear()
        yield
        history._reloads.clear()

    def test_none(self, admin_client: Client) -> None:
        assert "Its last reloads None yet." in text_of(admin_client)

    def test_the_last_20__the_last_first(self, admin_client: Client) -> None:
        for number in range(25):
            urls_reloaded.send(
                None, pages=100 + number, replaced=7, seconds=0.0123, reason="announced"
            )
        text = text_of(admin_client)
        assert re.findall(r" (\d+) 7 12\.3", text) == [str(n) for n in range(124, 104, -1)]
        assert text.count(" a notification ") == 20

    @pytest.mark.parametrize("reason", REASONS)
    def test_why(self, admin_client: Client, reason: Reason) -> None:
        urls_reloaded.send(None, pages=1, replaced=2, seconds=0.0123, reason=reason)
        text = text_of(admin_client)
        with override("en"):  # as the page; another test may have left another language
            assert re.search(rf"\d:\d\d {WHY[reason]} 1 2 12\.3", text)


def test_other_pages_of_the_admin_ask_nothing(admin_client: Client) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert PAGE in admin_client.get("/en/admin/").content.decode()
    asked = [query["sql"] for query in queries]
    assert asked
    assert not [sql for sql in asked if "cms-urlreload" in sql or "cms_urlconfrevision" in sql]


def test_what_fetches_itself_is_a_part_of_the_page(admin_client: Client, make_page: Any) -> None:
    make_page("news", "NewsApphook")
    admin_client.get(PAGE)  # django CMS writes a revision after a page was made
    part = text_of(admin_client, f"{PAGE}?live")
    assert part.rpartition(" As of ")[0] in text_of(admin_client)
    assert "<html" not in admin_client.get(f"{PAGE}?live").content.decode()


class TestGerman:
    def test_the_page(self, admin_client: Client) -> None:
        text = text_of(admin_client, PAGE.replace("/en/", "/de/"))
        assert "Kein Worker erfährt von Änderungen." in text
        assert "Routen in der Datenbank" in text
        assert (
            'value="Alle Worker neu laden"'
            in admin_client.get(PAGE.replace("/en/", "/de/")).content.decode()
        )

    def test_nothing_is_left_out(self) -> None:
        package = Path(cms_urlreload.__file__).parent
        with (package / "locale/de/LC_MESSAGES/django.mo").open("rb") as file:
            german = gettext.GNUTranslations(file)
        used = set()
        for template in package.glob("templates/**/*.html"):
            text = template.read_text()
            used |= {found[1] for found in re.findall(r"{% translate (['\"])(.*?)\1 %}", text)}
            for block in re.findall(
                r"{% blocktranslate[^%]*%}(.*?){% endblocktranslate %}", text, re.DOTALL
            ):
                singular = block.partition("{% plural %}")[0]
                used.add(re.sub(r"{{ (\w+) }}", r"%(\1)s", singular))
        for module in package.glob("*.py"):
            used |= set(re.findall(r'\b_\("(.*?)"\)', module.read_text()))
        assert len(used) > 40
        left = {
            text
            for text in used
            if {german.gettext(text), german.ngettext(text, text, 1)} == {text}
        }
        assert left == {"Apphook"}


def test_no_migration_is_missing() -> None:
    out = io.StringIO()
    call_command("makemigrations", "cms_urlreload", check=True, dry_run=True, stdout=out)
    assert "No changes" in out.getvalue()


def test_its_migration_makes_no_table() -> None:
    assert not [name for name in connection.introspection.table_names() if "urlreload" in name]
