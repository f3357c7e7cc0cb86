"""Sites that switch off migrations, or have others in their place: ``migrate`` and test runs work,
and the triggers are in afterwards."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.demo.site import ROOT
from tests.support.postgres import Server, create_database, drop_database
from tests.support.versions import tree_model

#: Those with triggers.
TABLES = {"cms_page", "cms_pageurl", "cms_urlconfrevision", tree_model()._meta.db_table}
#: The migrations of this project.
OURS = {"cms_urlreload": "0001_permissions", "cms_urlreload_pg": "0001_triggers"}

#: With those of cms, these must be off, or Django alone fails: models of cms inherit from auth and
#: refer to sites, and the migrations of auth need contenttypes.
OFF = {"cms": None, "auth": None, "contenttypes": None, "sites": None}
VARIANTS: dict[str, Any] = {
    "none off": {},
    "cms off": OFF,
    "cms and ours off": {**OFF, **dict.fromkeys(OURS)},
    "ours off": dict.fromkeys(OURS),
    "triggers off": {"cms_urlreload_pg": None},
    "all off": "all",
}


@dataclass
class Site:
    """The demo site on a database of its own, in processes that end."""

    url: str
    directory: Path
    modules: Any = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def on_postgresql(self) -> bool:
        return not self.url.startswith("sqlite")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a module of Python, where the site's own packages are."""
        return subprocess.run(
            [sys.executable, "-m", *arguments],
            capture_output=True,
            text=True,
            timeout=300,
            cwd=self.directory,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(ROOT), str(self.directory)]),
                "PYTHONDONTWRITEBYTECODE": "1",
                "DJANGO_SETTINGS_MODULE": "tests.e2e.migrations_settings",
                "DEMO_DATABASE_URL": self.url,
                "E2E_MIGRATION_MODULES": json.dumps(self.modules),
                **self.env,
            },
            check=False,
        )

    def manage(self, *arguments: str) -> str:
        answer = self.run("django", *arguments)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return answer.stdout + answer.stderr

    def make_tables(self) -> None:
        self.manage("migrate", "--run-syncdb", "-v0")

    def empty_package(self, package: str) -> Path:
        directory = self.directory / package
        directory.mkdir()
        (directory / "__init__.py").touch()
        return directory

    def tables_with_triggers(self) -> set[str]:
        with psycopg.connect(self.url) as connection:
            rows = connection.execute(
                "SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger "
                "WHERE tgname LIKE 'cms_urlreload_%'"
            )
            return {table for (table,) in rows}

    def check_that_all_is_in(self) -> None:
        """By what the database has, and by the check."""
        if self.on_postgresql:
            assert self.tables_with_triggers() == TABLES
            said = self.manage("check", "--database", "default")
            assert "cms_urlreload_pg.W005" not in said
        off = OURS if self.modules == "all" else self.modules
        here = [app for app in OURS if app not in off]
        if here:
            self.manage("makemigrations", "--check", "--dry-run", *here)


@pytest.fixture(params=["postgresql", "sqlite"])
def site(request: pytest.FixtureRequest, tmp_path: Path, postgres: Server) -> Iterator[Site]:
    if request.param == "sqlite":
        yield Site(f"sqlite:///{tmp_path / 'site.sqlite'}", tmp_path)
        return
    name = f"migrations_{secrets.token_hex(4)}"
    yield Site(create_database(postgres.dsn(), name), tmp_path)
    drop_database(postgres.dsn(), name)


only_postgresql = pytest.mark.parametrize("site", ["postgresql"], indirect=True)


@pytest.mark.parametrize("variant", VARIANTS)
def test_migrate__puts_triggers_in__when_migrations_are_off(site: Site, variant: str) -> None:
    site.modules = VARIANTS[variant]
    site.make_tables()
    site.check_that_all_is_in()
    site.make_tables()  # a second time, there is nothing to do


@only_postgresql
def test_triggers__come_with_tables__when_migrate_makes_them(site: Site) -> None:
    for app in ("auth", "sites"):
        site.manage("migrate", app, "-v0")
    site.modules = {"cms": None}
    site.manage("migrate", "-v0")
    assert site.tables_with_triggers() == set()
    site.make_tables()
    site.check_that_all_is_in()


@pytest.mark.parametrize("modules", [{"cms": None}, OFF, "all"], ids=["cms", "off", "all"])
def test_migrations__are_switched_off__after_tables_were_made(site: Site, modules: Any) -> None:
    site.env = {"DEMO_RELOAD": "none"}
    site.make_tables()
    site.env, site.modules = {}, modules
    site.make_tables()
    site.check_that_all_is_in()
    site.modules = {}
    site.make_tables()
    site.check_that_all_is_in()


@only_postgresql
@pytest.mark.parametrize("later", [{}, {"cms": None}], ids=["none off", "cms off"])
def test_triggers__stay_out__when_taken_out(site: Site, later: Any) -> None:
    site.make_tables()
    site.manage("migrate", "cms_urlreload_pg", "zero", "-v0")
    assert site.tables_with_triggers() == set()
    site.modules = later
    site.manage("migrate", "sites", "-v0")
    assert site.tables_with_triggers() == set()


@pytest.mark.parametrize("app", OURS)
def test_migrate__of_one_app__needs_no_other(site: Site, app: str) -> None:
    for target in ((app,), (app, "zero"), (app,), ()):
        site.manage("migrate", *target, "-v0")
    site.check_that_all_is_in()
    site.manage("migrate", app, "zero", "-v0")


def test_migrate__runs_ours_last__without_dependencies(site: Site) -> None:
    lines = site.manage("showmigrations", "--plan").splitlines()
    plan = [line.removeprefix("[ ]  ") for line in lines if line.startswith("[ ]  ")]
    ours = [plan.index(f"{app}.{name}") for app, name in OURS.items()]
    for app in ("auth", "cms", "contenttypes", "sites"):
        others = [index for index, name in enumerate(plan) if name.startswith(f"{app}.")]
        assert others
        assert max(others) < min(ours)


def test_history__is_consistent__when_migrations_are_back(site: Site) -> None:
    """As in django CMS's own tests: tables without migrations, then a look for missing ones."""
    site.modules = {**OFF, **dict.fromkeys(["admin", "menus", "sessions"])}
    site.make_tables()
    site.modules = {}
    site.manage("makemigrations", "--check", "--dry-run", *OURS)


def test_migrations__are_made_anew__in_another_package(site: Site) -> None:
    site.empty_package("own")
    site.modules = {"cms": "own.migrations"}
    site.manage("makemigrations", "cms", "-v0")
    site.manage("migrate", "-v0")
    site.check_that_all_is_in()


def test_dumpdata__finds_no_rows__in_model_without_table(site: Site) -> None:
    site.make_tables()
    for option in ("--natural-foreign", "--all"):
        answer = site.run("django", "dumpdata", option, "cms_urlreload")
        assert (answer.returncode, answer.stdout) == (0, "[]"), answer.stderr
        assert site.run("django", "dumpdata", option).returncode == 0


@only_postgresql
def test_our_migrations__are_in_another_package__and_none_there(site: Site) -> None:
    site.empty_package("empty")
    site.modules = {"cms_urlreload_pg": "empty"}
    site.manage("migrate", "-v0")
    site.check_that_all_is_in()


TESTS = """
from cms.models import PageUrl
from django.core.checks import Tags, run_checks
from django.db import connection
from django.test import TestCase, TransactionTestCase


class Cases:
    def test_triggers(self):
        assert connection.settings_dict["NAME"] != DATABASE
        assert not PageUrl.objects.exists()
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger "
                    "WHERE tgname LIKE 'cms_urlreload_%%'"
                )
                assert {table for (table,) in cursor.fetchall()} == TABLES
        found = run_checks(tags=[Tags.database], databases=["default"])
        assert "cms_urlreload_pg.W005" not in [message.id for message in found]


class InTransaction(Cases, TestCase):
    pass


class Committed(Cases, TransactionTestCase):
    def test_again(self):  # after a flush
        self.test_triggers()
"""


@pytest.fixture
def tests(site: Site) -> Path:
    """Tests of the site: of the database that a runner gives them."""
    database = site.url.rpartition("/")[2] if site.on_postgresql else ""
    path = site.directory / "test_site.py"
    path.write_text(f"TABLES = {TABLES!r}\nDATABASE = {database!r}\n{TESTS}")
    return path


@pytest.mark.parametrize("variant", [*VARIANTS, "TEST"])
def test_test_run__by_django__has_triggers(site: Site, tests: Path, variant: str) -> None:
    if variant == "TEST":
        site.env = {"E2E_TEST_DATABASE": '{"MIGRATE": false}'}
    else:
        site.modules = VARIANTS[variant]
    assert "Ran 3 tests" in site.manage("test", "--noinput", tests.stem)


@pytest.mark.parametrize("option", ["--migrations", "--nomigrations"])
@pytest.mark.parametrize("variant", ["none off", "cms off"])
def test_test_run__by_pytest__has_triggers(
    site: Site, tests: Path, option: str, variant: str
) -> None:
    site.modules = VARIANTS[variant]
    (site.directory / "pytest.ini").touch()
    answer = site.run("pytest", "-q", "-p", "no:cacheprovider", option, str(tests))
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "3 passed" in answer.stdout
