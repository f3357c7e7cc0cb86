"""The distribution: what is in it, and that it works where nothing else is."""

from __future__ import annotations

import ast
import subprocess
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("cms_urlreload", "cms_urlreload_pg")


def test_the_wheel_has_each_file_of_the_packages_and_no_other(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    source = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert inside == source
    assert {f"{package}/py.typed" for package in PACKAGES} <= inside


PROGRAM = """
import django
from django.conf import settings

settings.configure(
    SECRET_KEY="x",
    SITE_ID=1,
    LANGUAGE_CODE="en",
    LANGUAGES=[("en", "English")],
    CMS_CONFIRM_VERSION4=True,
    ROOT_URLCONF="cms.urls",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=[
        "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
        "django.contrib.sites", "django.contrib.messages", "django.contrib.admin",
        "cms", "menus", "treebeard", "sekizai", "cms_urlreload", "cms_urlreload_pg",
    ],
    MIDDLEWARE=["cms_urlreload.middleware.UrlReloadMiddleware"],
    TEMPLATES=[{
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "OPTIONS": {"context_processors": [
            "django.template.context_processors.request",
            "django.contrib.auth.context_processors.auth",
            "django.contrib.messages.context_processors.messages",
            "sekizai.context_processors.sekizai",
            "cms.context_processors.cms_settings",
        ]},
    }],
)
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from django.core.checks import run_checks
print([message.id for message in run_checks() if message.id.startswith("cms_urlreload")])
from cms_urlreload.tasks import ensure_fresh
from cms_urlreload import process
ensure_fresh()
print(process.state.applied is not None, process.get_transport().mode.current.name)
"""


def test_the_wheel_works_in_a_clean_environment(wheel: Path, tmp_path: Path) -> None:
    """With SQLite, and without psycopg: what is installed when nobody asks for more."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"

    def run(*arguments: str) -> str:
        return subprocess.run(
            [str(python), *arguments],
            check=True,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=300,
        ).stdout

    # packaging: django CMS imports it without declaring it.
    run("-m", "pip", "install", "--quiet", str(wheel), "packaging", "Django~=5.2.0")
    ids, state = run("-c", PROGRAM).splitlines()
    assert sorted(ast.literal_eval(ids)) == ["cms_urlreload_pg.I002", "cms_urlreload_pg.W001"]
    assert state == "True poll"
