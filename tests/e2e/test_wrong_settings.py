"""Whatever is configured wrongly, a system check or a line of ``urlreload doctor`` names the
culprit and the remedy. One table; the commands are the real ones, in one process that stays open.

What each check says in full is in tests/unit/test_checks.py; SITE_ID, which may be missing since
django CMS 5.1, is there too, and psycopg2 alone is a row of ``make matrix``.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from cms_urlreload.checks import CORE_MIDDLEWARE as CORE
from cms_urlreload.checks import MIDDLEWARE as OURS
from tests.demo.site import ROOT, DemoSite
from tests.e2e.conftest import CONTROLS, Database
from tests.e2e.console import Console
from tests.support import pgbouncer
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import (
    PostgresServer,
    Server,
    drop_database,
    free_port,
    replace_dbname,
)

ALDRYN = "aldryn_apphook_reload.middleware.ApphookReloadMiddleware"
LOCALE = "django.middleware.locale.LocaleMiddleware"

CHECK = ("check",)
CHECK_DATABASE = ("check", "--database", "default")
DOCTOR = ("urlreload", "doctor")

_RUN = """
import io
from contextlib import nullcontext
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import modify_settings, override_settings
from django.test.utils import setup_test_environment, teardown_test_environment

changed = override_settings(**settings_)
lists = modify_settings(**lists) if lists else nullcontext()
out = io.StringIO()
if in_test_run:
    setup_test_environment()
try:
    with changed, lists:
        call_command(*command, stdout=out, stderr=out, no_color=True)
except (SystemCheckError, SystemExit) as error:
    out.write(str(error))
finally:
    if in_test_run:
        teardown_test_environment()
result = out.getvalue()
"""


class StoriesInLite:
    """A router."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "lite" if model._meta.app_label == "news" else None

    db_for_write = db_for_read


class World:
    """A site in a process that is told its settings, and what they may name."""

    def __init__(self, database: Database, console: Console, role: str, password: str) -> None:
        self.database = database
        self.console = console
        self.role = role
        self.password = password

    def run(self, command: tuple[str, ...], **names: Any) -> str:
        names = {"settings_": {}, "lists": {}, "in_test_run": False, **names}
        return str(self.console.run(_RUN, command=command, **names))

    def dsn(self, **changes: Any) -> str:
        """The address that the site has, with something else in it."""
        own = {"user": self.role, "password": self.password}
        return psycopg.conninfo.make_conninfo(self.database.dsn, **{**own, **changes})


@pytest.fixture(scope="module")
def world(
    postgres: Server, template: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    name = role = f"wrong_{secrets.token_hex(4)}"
    password = secrets.token_hex(8)
    run_dir = tmp_path_factory.mktemp("wrong")
    # What was installed once, and is not any more.
    (run_dir / "aldryn_apphook_reload.py").touch()
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{urlsplit(template.dsn).path[1:]}"')
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
    database = Database(replace_dbname(postgres.dsn(), name), template.pages)
    database.sql(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
    env = {
        **CONTROLS,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(run_dir)]),
    }
    site = DemoSite(postgres.dsn(name, role, password), run_dir, prepare=False, env=env)
    with Console(site) as console:
        yield World(database, console, role, password)
    drop_database(postgres.dsn(), name)
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute(f"DROP OWNED BY {role}")
        connection.execute(f"DROP ROLE {role}")


Names = dict[str, Any]


@dataclass(frozen=True)
class Wrong:
    """One wrong configuration: ``options`` are those of CMS_URLRELOAD. What must be said: the ids
    of the checks, or what the doctor has looked at, then words of the text and of the remedy."""

    name: str
    what: str
    words: tuple[str, ...]
    command: tuple[str, ...] = CHECK
    options: Any = None
    settings: Any = None
    lists: Any = None
    #: Statements: what makes it wrong, and what makes it right again.
    sql: tuple[str, str] | None = None
    in_test_run: bool = False

    def names(self, world: World) -> Names:
        options = self.options(world) if callable(self.options) else self.options
        given = {} if options is None else {"CMS_URLRELOAD": options}
        return {
            "settings_": {**given, **(self.settings or {})},
            "lists": self.lists or {},
            "in_test_run": self.in_test_run,
        }


def value(key: str, wrong: Any, wanted: str, name: str = "") -> Wrong:
    """A wrong value of a key."""
    said = f"CMS_URLRELOAD['{key}'] must be {wanted}"
    return Wrong(
        f"{key} is {name or repr(wrong)}", "cms_urlreload.E001", (said,), options={key: wrong}
    )


def middleware(name: str, what: str, words: tuple[str, ...], *order: str) -> Wrong:
    return Wrong(name, what, words, settings={"MIDDLEWARE": [*order, *_REST]})


def address(
    name: str,
    what: str,
    words: tuple[str, ...],
    dsn: Callable[[World], str],
    sql: tuple[str, str] | None = None,
) -> Wrong:
    """A wrong LISTEN_DSN."""
    return Wrong(
        name,
        what,
        words,
        command=DOCTOR,
        options=lambda world: {"LISTEN_DSN": dsn(world), "HEARTBEAT_TIMEOUT": 0.5},
        sql=sql,
    )


_REST = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "cms.middleware.toolbar.ToolbarMiddleware",
]
_SECONDS = "a number of seconds"
_CHANNEL = "a name of 1 to 63 bytes, without a null character"
_CORRECT_DSN = "Correct CMS_URLRELOAD['LISTEN_DSN']: it must lead to the PostgreSQL server"

TABLE = (
    middleware("no middleware", "cms_urlreload.W001", ("Add it at the top",)),
    middleware("core's middleware alone", "cms_urlreload.W001", (f"in the place of {CORE}",), CORE),
    middleware("core's middleware too", "cms_urlreload.E002", (f"Remove {CORE}",), OURS, CORE),
    middleware(
        "aldryn's middleware too", "cms_urlreload.E002", (f"Remove {ALDRYN}",), OURS, ALDRYN
    ),
    middleware(
        "the middleware is too low",
        "cms_urlreload.W003",
        (f"comes after {LOCALE}", f"Move {OURS} above {LOCALE}"),
        *(LOCALE, OURS),
    ),
    middleware(
        "the middleware is misspelled",
        "cms_urlreload.E007",
        ("'cms_urlreload.middleware.UrlReloadMiddelware'", f"Write it as '{OURS}'"),
        "cms_urlreload.middleware.UrlReloadMiddelware",
    ),
    Wrong(
        "aldryn's app is left",
        "cms_urlreload.W008",
        ("aldryn_apphook_reload is in INSTALLED_APPS", "'manage.py migrate aldryn_apphook_reload"),
        lists={"INSTALLED_APPS": {"append": "aldryn_apphook_reload"}},
    ),
    Wrong(
        "cms_urlreload_pg alone",
        "cms_urlreload_pg.E006",
        ("Add 'cms_urlreload' to INSTALLED_APPS",),
        lists={"INSTALLED_APPS": {"remove": "cms_urlreload"}},
    ),
    Wrong(
        "cms_urlreload alone, on PostgreSQL",
        "cms_urlreload.W010",
        ("Add 'cms_urlreload_pg' to INSTALLED_APPS, and run 'manage.py migrate'",),
        lists={"INSTALLED_APPS": {"remove": "cms_urlreload_pg"}},
    ),
    Wrong(
        "no dictionary",
        "cms_urlreload.E001",
        ("CMS_URLRELOAD must be a dictionary, not list", "Write it as CMS_URLRELOAD = {"),
        options=["CHANNEL"],
    ),
    Wrong(
        "an unknown key",
        "cms_urlreload.E001",
        ("unknown key 'POLL_INTERVALL'", "Known keys: POLL_INTERVAL,"),
        options={"POLL_INTERVALL": 1},
    ),
    Wrong(
        "a key in lower case",
        "cms_urlreload.E001",
        ("unknown key 'channel'", "CHANNEL,"),
        options={"channel": "news"},
    ),
    Wrong(
        "a setting of its own",
        "cms_urlreload.W005",
        ("CMS_URLRELOAD_CHANNEL is read by nobody", "keys of one dictionary, CMS_URLRELOAD"),
        settings={"CMS_URLRELOAD_CHANNEL": "news"},
    ),
    value("POLL_INTERVAL", -1, _SECONDS),
    value("POLL_INTERVAL", "1", _SECONDS),
    value("POLL_INTERVAL", True, _SECONDS),
    value("HEARTBEAT_INTERVAL", 0, _SECONDS),
    value("HEARTBEAT_INTERVAL", float("nan"), _SECONDS),
    value("HEARTBEAT_INTERVAL", 10_000_000, _SECONDS, "in microseconds"),
    value("HEARTBEAT_TIMEOUT", None, _SECONDS),
    value("CONNECT_TIMEOUT", 1, f"{_SECONDS}, 2 to"),
    value("CHANNEL", "", _CHANNEL),
    value("CHANNEL", "a" * 64, _CHANNEL, "too long"),
    value("CHANNEL", "a\0b", _CHANNEL),
    value("CHANNEL", 5, _CHANNEL),
    value("LISTEN", "yes", "True, False or None"),
    value("LISTEN_DSN", 5, "a string or None"),
    value("CONFIG_MODELS", "news.Story", "a list of model names"),
    value("CONFIG_MODELS", ["Story"], "a list of model names"),
    Wrong(
        "HEARTBEAT_TIMEOUT is in milliseconds",
        "cms_urlreload_pg.W007",
        ("CMS_URLRELOAD['HEARTBEAT_TIMEOUT'] is 5000 seconds", "Leave it out"),
        options={"HEARTBEAT_TIMEOUT": 5000},
    ),
    Wrong(
        "CONFIG_MODELS names no model",
        "cms_urlreload.E004",
        ("names 'news.Novel'", "its app must be in INSTALLED_APPS"),
        options={"CONFIG_MODELS": ["news.Novel"]},
    ),
    Wrong(
        "CONFIG_MODELS names one in another database",
        "cms_urlreload.W006",
        ("'news.Story', whose rows are in the database 'lite'", "urls_need_reloading"),
        options={"CONFIG_MODELS": ["news.Story"]},
        settings={"DATABASE_ROUTERS": [f"{__name__}.StoriesInLite"]},
    ),
    Wrong(
        "CONFIG_MODELS names one with a type without a binary form",
        "cms_urlreload_pg.E010",
        ("the field 'news.Story.text', whose type 'seg'", "urls_need_reloading"),
        command=CHECK_DATABASE,
        options={"CONFIG_MODELS": ["news.Story"]},
        sql=(
            "CREATE EXTENSION seg; ALTER TABLE news_story ALTER text TYPE seg USING '1'",
            "ALTER TABLE news_story ALTER text TYPE text USING ''; DROP EXTENSION seg",
        ),
    ),
    Wrong(
        "LISTEN_DATABASE is no alias",
        "cms_urlreload_pg.E003",
        ("'direct', which is not in DATABASES", "Aliases: default, lite"),
        options={"LISTEN_DATABASE": "direct"},
    ),
    Wrong(
        "LISTEN_DATABASE is not PostgreSQL",
        "cms_urlreload_pg.E003",
        ("'lite', which is not PostgreSQL", "Name an alias of the PostgreSQL database"),
        options={"LISTEN_DATABASE": "lite"},
    ),
    Wrong(
        "LISTEN_DSN is no connection string",
        "cms_urlreload_pg.E004",
        ("CMS_URLRELOAD['LISTEN_DSN']", 'Write it as "postgresql://'),
        options={"LISTEN_DSN": "host=db pasword=x"},
    ),
    Wrong(
        "LISTEN_DSN and LISTEN_DATABASE",
        "cms_urlreload_pg.W009",
        ("'default' is not used", "Remove one of the two"),
        options=lambda world: {"LISTEN_DSN": world.dsn(), "LISTEN_DATABASE": "default"},
    ),
    Wrong(
        "LISTEN is True in a test run",
        "cms_urlreload_pg.W008",
        ("CMS_URLRELOAD['LISTEN'] is True", "Leave it out"),
        options={"LISTEN": True},
        in_test_run=True,
    ),
    Wrong(
        "triggers that are switched off",
        "cms_urlreload_pg.W005",
        ("not up to date, on cms_pageurl.", "manage.py migrate cms_urlreload_pg"),
        command=CHECK_DATABASE,
        sql=(
            "ALTER TABLE cms_pageurl DISABLE TRIGGER USER",
            "ALTER TABLE cms_pageurl ENABLE TRIGGER USER",
        ),
    ),
    Wrong(
        "triggers of another channel",
        "cms_urlreload_pg.W005",
        ("They announce on 'apphooks', and not on 'news'", "manage.py migrate cms_urlreload_pg"),
        command=CHECK_DATABASE,
        options={"CHANNEL": "news"},
    ),
    Wrong(
        "LISTEN is False",
        "listener",
        ("CMS_URLRELOAD['LISTEN'] is False", "Leave it out"),
        command=DOCTOR,
        options={"LISTEN": False},
    ),
    Wrong(
        "a role that may not notify",
        "probe",
        ("The site's role may not notify", "GRANT it EXECUTE ON FUNCTION pg_notify"),
        command=DOCTOR,
        sql=(
            "REVOKE EXECUTE ON FUNCTION pg_notify(text, text) FROM PUBLIC",
            "GRANT EXECUTE ON FUNCTION pg_notify(text, text) TO PUBLIC",
        ),
    ),
    Wrong(
        "a role with room for one connection",
        "probe",
        ("The site's own connection, which is to notify, failed", "has room for it"),
        command=DOCTOR,
        # Django's and the listener's; the third is too many.
        sql=("ALTER ROLE {role} CONNECTION LIMIT 2", "ALTER ROLE {role} CONNECTION LIMIT -1"),
    ),
    Wrong(
        "a role that may not read the pages",
        "heartbeat",
        ("cannot read what decides routing", "GRANT it SELECT"),
        command=DOCTOR,
        sql=(
            "REVOKE SELECT ON cms_pageurl FROM {role}",
            "GRANT SELECT ON cms_pageurl TO {role}",
        ),
        # The site can; only the listener is another role.
        options=lambda world: {"LISTEN_DSN": world.dsn()},
    ),
    address(
        "the address of a database without pages",
        "heartbeat",
        ('"cms_pageurl" does not exist', "must lead to the database that has these tables"),
        lambda world: world.dsn(dbname="postgres"),
    ),
    address(
        "the address of another schema",
        "heartbeat",
        ("finds the pages in the schema 'other', and the site in 'public'", "and the search_path"),
        lambda world: f"{world.dsn()} options='-c search_path=other,public'",
        sql=(
            (
                "CREATE SCHEMA other; CREATE TABLE other.cms_pageurl AS SELECT * FROM cms_pageurl; "
                "GRANT USAGE ON SCHEMA other TO {role}; GRANT SELECT ON other.cms_pageurl TO {role}"
            ),
            "DROP SCHEMA other CASCADE",
        ),
    ),
    address(
        "the address of another database",
        "probe",
        (
            "has not arrived on the listener's",
            "must lead to PostgreSQL itself, and to the database",
        ),
        lambda world: world.dsn(dbname="postgres"),
    ),
    address(
        "no such database",
        "address",
        ('"none" does not exist', _CORRECT_DSN),
        lambda world: world.dsn(dbname="none"),
    ),
    address(
        "a wrong password",
        "address",
        ("password authentication failed", _CORRECT_DSN),
        lambda world: world.dsn(password="wrong"),
    ),
    address(
        "a wrong role",
        "address",
        ('"nobody_here"', _CORRECT_DSN),
        lambda world: world.dsn(user="nobody_here"),
    ),
    address(
        "a wrong port",
        "address",
        ("refused", _CORRECT_DSN),
        lambda world: world.dsn(port=free_port()),
    ),
    address(
        "a wrong host",
        "address",
        ("resolve", _CORRECT_DSN),
        lambda world: world.dsn(host="nobody.invalid"),
    ),
)


def found(text: str) -> set[str]:
    """What the checks, or the doctor, find wrong."""
    ids = re.findall(r"\((cms_urlreload\w*\.\w\d+)\)", text)
    return {*ids, *re.findall(r"^WRONG +(\S+):", text, re.MULTILINE)}


def check(wrong: Wrong, world: World) -> None:
    do, undo = (each.format(role=world.role) for each in wrong.sql or ("SELECT", "SELECT"))
    world.database.sql(do)
    try:
        text = world.run(wrong.command, **wrong.names(world))
    finally:
        world.database.sql(undo)
    print(text)
    assert wrong.what in found(text)
    for words in wrong.words:
        assert words in text
    if wrong.command != DOCTOR:
        assert found(text) == {wrong.what}
    assert world.password not in text


@pytest.mark.parametrize("wrong", TABLE, ids=lambda wrong: wrong.name)
def test_it_is_named__with_its_remedy(wrong: Wrong, world: World) -> None:
    check(wrong, world)


@pytest.mark.parametrize("command", [CHECK, CHECK_DATABASE, DOCTOR])
def test_nothing_is_named__where_nothing_is_wrong(command: tuple[str, ...], world: World) -> None:
    assert found(world.run(command)) == set()


def test_a_listener_whose_role_only_reads__is_right(world: World) -> None:
    world.database.sql(f"ALTER ROLE {world.role} SET default_transaction_read_only = on")
    try:
        text = world.run(DOCTOR, settings_={"CMS_URLRELOAD": {"LISTEN_DSN": world.dsn()}})
    finally:
        world.database.sql(f"ALTER ROLE {world.role} RESET default_transaction_read_only")
    assert found(text) == set()


def test_there_are_enough_of_them() -> None:
    """And as many kinds of culprits as there are checks that need no version of their own."""
    assert len(TABLE) >= 40
    assert len({wrong.name for wrong in TABLE}) == len(TABLE)


@pytest.mark.pgbouncer
def test_a_pooler_in_transaction_mode__is_named(world: World) -> None:
    if reason := pgbouncer.missing():
        pytest.skip(reason)
    with PgBouncer(world.database.dsn, "transaction") as pooler:
        check(
            address(
                "a pooler",
                "probe",
                ("pooler in transaction mode between", "CMS_URLRELOAD['LISTEN_DSN'] must lead to"),
                lambda world: pooler.through(world.database.dsn),
            ),
            world,
        )


def test_a_standby_and_a_server_that_is_full__are_named(world: World) -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(PostgresServer(max_connections=12))
        standby = stack.enter_context(PostgresServer(standby_of=server, max_connections=12))
        words = ("standby mode", "a standby is none")
        check(address("a standby", "address", words, lambda world: standby.dsn()), world)
        for _ in range(11):
            stack.enter_context(psycopg.connect(server.dsn()))
        words = ("12 of 12 in use", "Raise max_connections")
        check(address("a full server", "connections", words, lambda world: server.dsn()), world)


NO_CMS = """
import django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "cms_urlreload"]
)
django.setup()
"""


def test_django_cms_is_not_installed__is_named() -> None:
    answer = subprocess.run(
        [sys.executable, "-c", NO_CMS], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert answer.returncode == 1
    assert "cms_urlreload is in INSTALLED_APPS, and django CMS is not: add 'cms'" in answer.stderr


def test_a_psycopg_that_is_too_old__is_named(world: World, tmp_path: Path) -> None:
    """What pip has written of it is what counts."""
    old = tmp_path / "psycopg-3.1.18.dist-info"
    old.mkdir()
    (old / "METADATA").write_text("Metadata-Version: 2.1\nName: psycopg\nVersion: 3.1.18\n")
    answer = subprocess.run(
        [sys.executable, "-m", "tests.demo.manage", "check"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]),
            "DEMO_DATABASE_URL": world.database.dsn,
            "DJANGO_SETTINGS_MODULE": "tests.demo.settings",
        },
        check=False,
    )
    said = answer.stdout + answer.stderr
    assert "(cms_urlreload_pg.W001)" in said
    assert "psycopg 3.1.18 is installed, and 3.2.10 or newer is needed" in said
    assert 'pip install "django-cms-urlreload[postgres]"' in said
