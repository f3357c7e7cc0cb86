"""A newcomer: a fresh environment, a fresh project with django CMS as its documentation says
(docs.django-cms.org, "Installing django CMS by hand"), then the steps of our README, read from
there. Takes nothing from this checkout but the README and the wheel.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import textwrap
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from tests.demo.site import ROOT
from tests.support.postgres import free_port
from tests.support.processes import die_with_parent, end_process, tail

DISTRIBUTION = "django-cms-urlreload"
#: What the documentation of django CMS, that of Django on PostgreSQL, and that of gunicorn say; and
#: what django CMS imports and does not declare.
REQUIREMENTS = ("django-cms", "psycopg[binary]", "gunicorn", "packaging")

_SETTINGS = """
INSTALLED_APPS += ["django.contrib.sites", "cms", "menus", "treebeard", "sekizai", "news"]
SITE_ID = 1
LANGUAGES = [("en", "English"), ("de", "German")]
LANGUAGE_CODE = "en"
CMS_CONFIRM_VERSION4 = True
CMS_TEMPLATES = [("home.html", "Home page template")]
X_FRAME_OPTIONS = "SAMEORIGIN"
TEMPLATES[0]["DIRS"] = ["templates"]
TEMPLATES[0]["OPTIONS"]["context_processors"] += [
    "django.template.context_processors.i18n",
    "sekizai.context_processors.sekizai",
    "cms.context_processors.cms_settings",
]
MIDDLEWARE.insert(
    MIDDLEWARE.index("django.middleware.common.CommonMiddleware"),
    "django.middleware.locale.LocaleMiddleware",
)
MIDDLEWARE += [
    "cms.middleware.user.CurrentUserMiddleware",
    "cms.middleware.page.CurrentPageMiddleware",
    "cms.middleware.toolbar.ToolbarMiddleware",
    "cms.middleware.language.LanguageCookieMiddleware",
]
DATABASES = {{
    "default": {{
        "ENGINE": "django.db.backends.postgresql",
        "NAME": {name!r},
        "USER": {user!r},
        "PASSWORD": {password!r},
        "HOST": {host!r},
        "PORT": {port},
    }}
}}
"""
_FILES = {
    "mysite/urls.py": """
from django.conf.urls.i18n import i18n_patterns
from django.contrib import admin
from django.urls import include, path
from news.views import who

urlpatterns = [path("who/", who)] + i18n_patterns(
    path("admin/", admin.site.urls),
    path("", include("cms.urls")),
)
""",
    "templates/home.html": """
{% load cms_tags sekizai_tags %}
<html>
<head><title>{% page_attribute "page_title" %}</title>{% render_block "css" %}</head>
<body>{% cms_toolbar %}{% placeholder "content" %}{% render_block "js" %}</body>
</html>
""",
    "news/__init__.py": "",
    "news/views.py": """
import os
from django.http import HttpResponse

def who(request):
    return HttpResponse(str(os.getpid()))
""",
    "news/cms_apps.py": """
from cms.app_base import CMSApp
from cms.apphook_pool import apphook_pool
from django.urls import path
from news.views import who

@apphook_pool.register
class NewsApphook(CMSApp):
    app_name = "news"
    name = "News"

    def get_urls(self, page=None, language=None, **kwargs):
        return [[path("story/", who, name="story")]]
""",
}


class Step(NamedTuple):
    """One step of the README: what to run, what to write into the settings, what to run then."""

    commands: list[list[str]]
    settings: list[str]
    then: list[list[str]]


def readme_steps() -> list[Step]:
    """The steps of the README's section "Install"."""
    text = (ROOT / "README.md").read_text()
    section = text.partition("\n## Install\n")[2].partition("\n## ")[0]
    # What is not indented after the last of them is none.
    steps = re.split(r"^\d\. ", section, flags=re.MULTILINE)[1:]
    return [_step(re.split(r"\n\n(?! )", step)[0]) for step in steps]


def _step(text: str) -> Step:
    blocks = re.findall(r"^ *```python\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    lines = re.findall(r"^ *\$ (.+)$", text, re.MULTILINE)
    inline = re.findall(r"`(python manage\.py .+?)`", text)
    return Step(
        [shlex.split(line) for line in lines],
        [_setting(textwrap.dedent(block)) for block in blocks],
        [shlex.split(line) for line in inline],
    )


def _setting(block: str) -> str:
    """The dots are what was there before."""
    name = block.partition(" ")[0]
    return block.replace("...", f"*{name}")


class Project:
    """A project in a directory of its own.

    :param database_url: of an empty database.
    :param wheel: what is installed in the place of the name on the index.
    """

    def __init__(self, directory: Path, database_url: str, wheel: Path) -> None:
        self._environment = directory / "venv"
        self._root = directory / "mysite"
        self._database = urlsplit(database_url)
        self._wheel = wheel
        self._log = directory / "gunicorn.log"

    def begin(self) -> None:
        """Do what has nothing to do with us."""
        venv.create(self._environment, with_pip=True)
        self.run("pip", "install", "--quiet", *REQUIREMENTS)
        self._root.mkdir()
        self.run("django-admin", "startproject", "mysite", ".")
        parts = self._database
        self.write_settings(
            _SETTINGS.format(
                name=parts.path[1:],
                user=parts.username,
                password=parts.password,
                host=parts.hostname,
                port=parts.port,
            )
        )
        for name, text in _FILES.items():
            path = self._root / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        self.run("python", "manage.py", "migrate")

    def follow(self, step: Step) -> None:
        """Do what a step of the README says."""
        for command in step.commands:
            self.run(*(word.replace(DISTRIBUTION, str(self._wheel)) for word in command))
        for setting in step.settings:
            self.write_settings(setting)
        for command in step.then:
            self.run(*command)

    def write_settings(self, text: str) -> None:
        with (self._root / "mysite" / "settings.py").open("a") as file:
            file.write(text)

    def run(self, program: str, *arguments: str) -> str:
        """Run what is in the environment; return all that it said."""
        answer = subprocess.run(
            [self._environment / "bin" / program, *arguments],
            capture_output=True,
            text=True,
            cwd=self._root if self._root.exists() else None,
            env=self._variables,
            timeout=300,
            check=False,
        )
        said = answer.stdout + answer.stderr
        if answer.returncode:
            raise AssertionError(f"{program} {' '.join(arguments)} failed:\n{said}")
        return said

    @property
    def _variables(self) -> dict[str, str]:
        # Nothing of the environment that runs the tests.
        ours = ("PYTHON", "DJANGO", "DEMO_", "VIRTUAL_ENV", "PYTEST")
        return {name: value for name, value in os.environ.items() if not name.startswith(ours)}

    @contextmanager
    def serve(self, workers: int) -> Iterator[str]:
        """Serve it with gunicorn; the value is its address."""
        port = free_port()
        command = ("-m", "gunicorn", "mysite.wsgi", "-w", str(workers), "-b", f"127.0.0.1:{port}")
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                [self._environment / "bin" / "python", *command, "--no-control-socket"],
                stdout=log,
                stderr=log,
                cwd=self._root,
                env=self._variables,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGTERM),
            )
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            end_process(process, signal.SIGTERM, 10, group=True)

    @property
    def log(self) -> str:
        return tail(self._log)
