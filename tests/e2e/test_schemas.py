"""Pages in another schema than the listener's, or in another one for each request: said, and never
served as if nothing were wrong."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.demo.client import request
from tests.demo.site import SiteError
from tests.e2e.conftest import Database, Fleet
from tests.e2e.lines import environment
from tests.e2e.test_command import urlreload
from tests.support.waiting import wait_until

COPY = """
    DO $$ DECLARE name text; BEGIN
        CREATE SCHEMA other;
        FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
            EXECUTE format('CREATE TABLE other.%1$I (LIKE public.%1$I INCLUDING ALL)', name);
            EXECUTE format('INSERT INTO other.%1$I SELECT * FROM public.%1$I', name);
        END LOOP;
        UPDATE other.cms_pageurl SET path = 'other-news' WHERE path = 'news';
    END $$
"""
NEWS, OTHER_NEWS = "/en/news/first-story/", "/en/other-news/first-story/"


@pytest.fixture
def two_schemas(database: Database) -> Database:
    database.sql(COPY)
    return database


def begin(start: Any, how: str, **kwargs: Any) -> Fleet:
    env = {
        "DJANGO_SETTINGS_MODULE": "tests.e2e.schema_settings",
        "DEMO_SCHEMA_BY": how,
    }
    fleet: Fleet = start(workers=1, env=env, **kwargs)
    return fleet


def test_search_path_of_each_request__is_told_in_the_log(start: Any, two_schemas: Database) -> None:
    fleet = begin(start, "middleware", urlreload={"POLL_INTERVAL": 0})
    [worker] = fleet.workers
    assert request(worker.base_url, OTHER_NEWS, headers={"X-Schema": "other"}).status == 200
    # The listener sees it first, in the heartbeat after that look.
    wait_until(
        lambda: (
            "the listener finds the pages in the schema 'public', and requests in 'other'"
            in fleet.log
        ),
        15,
        lambda: f"the listener to say so: {fleet.log}",
    )
    assert fleet.polling()
    # Then each look does, in another tenant's request.
    said = "were found in the schema 'other' before, and now in 'public'"
    wait_until(
        lambda: fleet.statuses(NEWS) and said in fleet.log, 10, lambda: f"the log: {fleet.log}"
    )
    assert "cms.middleware.utils.ApphookReloadMiddleware" in fleet.log


def test_search_path_of_all_connections__is_told_where_the_listener_lacks_it(
    start: Any, two_schemas: Database
) -> None:
    fleet = begin(start, "signal")
    assert fleet.statuses(OTHER_NEWS) == [200]
    fleet.wait_for_poll()
    assert "LISTEN_DSN" in fleet.log
    assert "search_path" in fleet.log
    # Polled, and right.
    two_schemas.sql("UPDATE other.cms_pageurl SET path = 'moved' WHERE path = 'other-news'")
    fleet.wait_for("/en/moved/first-story/", timeout=5)
    code, text = urlreload({**fleet.site.environment}, "doctor")
    assert code == 1
    assert "finds the pages in the schema 'public', and the site in 'other'." in text


def test_search_path_of_all_connections__is_heard_where_the_listener_has_it(
    start: Any, two_schemas: Database
) -> None:
    options = quote("-c search_path=other")
    fleet = begin(start, "options", dsn=f"{two_schemas.dsn}?options={options}")
    assert fleet.statuses(OTHER_NEWS) == [200]
    wait_until(lambda: "Push: " in fleet.log, 15, lambda: f"push: {fleet.log}")
    fleet.ping()
    two_schemas.sql("UPDATE other.cms_pageurl SET path = 'moved' WHERE path = 'other-news'")
    two_schemas.notify()
    fleet.wait_for("/en/moved/first-story/", timeout=5)
    assert not fleet.polling()
    assert "the schema" not in fleet.log


def test_listener_without_any_pages__is_told(start: Any, two_schemas: Database) -> None:
    """A role whose search_path leads nowhere."""
    dsn = f"{two_schemas.dsn}?options={quote('-c search_path=nowhere')}"
    fleet = begin(start, "nothing", urlreload={"LISTEN_DSN": dsn})
    assert fleet.statuses(NEWS) == [200]
    fleet.wait_for_poll()
    wait_until(lambda: "leads to other tables" in fleet.log, 15, lambda: fleet.log)
    assert "LINE" not in fleet.log


def test_engine_of_tenants__is_refused(start: Any, database: Database) -> None:
    """By the checks, and by a server, which runs none."""
    with pytest.raises(SiteError) as server:
        begin(start, "engine")
    assert "ImproperlyConfigured: The engine 'tests.e2e.tenant_engine'" in str(server.value)
    env = {"DJANGO_SETTINGS_MODULE": "tests.e2e.schema_settings", "DEMO_SCHEMA_BY": "engine"}
    code, text = urlreload({**environment(database.dsn, ""), **env}, "doctor")
    assert code == 1
    assert "cms_urlreload.E011: The engine 'tests.e2e.tenant_engine'" in text
    assert "use cms.middleware.utils.ApphookReloadMiddleware of django CMS" in text
