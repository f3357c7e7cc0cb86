"""The distribution: what is in it, that it is built alike each time, that it works where nothing
else is, and what type checkers make of it."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

import cms_urlreload

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("cms_urlreload", "cms_urlreload_pg")
FOLDERS = (*PACKAGES, ".github", "docs", "tests")
#: Folders that `make` and Python make.
MADE = {"__pycache__", "_build"}
#: What a build takes for the time of all files.
SOURCE_DATE_EPOCH = "1700000000"
#: What `make test`, `make lint` and `make build` need beside the packages and the tests.
TOP_LEVEL = {
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "docker-compose.yml",
    "pyproject.toml",
}


def build(source: Path, out: Path) -> list[Path]:
    """Build as `make build` does; return the source archive and the wheel."""
    run(sys.executable, "-m", "build", "--outdir", str(out), str(source))
    return [next(out.glob("*.tar.gz")), next(out.glob("*.whl"))]


def run(*command: str, cwd: Path = ROOT) -> str:
    answer = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, "SOURCE_DATE_EPOCH": SOURCE_DATE_EPOCH},
        timeout=300,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def files(root: Path, folders: Iterable[str]) -> set[str]:
    return {
        str(path.relative_to(root))
        for folder in folders
        for path in (root / folder).rglob("*")
        if path.is_file() and not MADE & {*path.parts}
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return build(ROOT, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def wheel(built: list[Path]) -> Path:
    return built[1]


@pytest.fixture(scope="module")
def unpacked(built: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive, unpacked."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(built[0]) as archive:
        archive.extractall(folder, filter="data")
    [root] = folder.iterdir()
    return root


def test_the_wheel_has_each_file_of_the_packages_and_no_other(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert inside == files(ROOT, PACKAGES)
    assert {
        "cms_urlreload/locale/de/LC_MESSAGES/django.mo",
        "cms_urlreload/management/commands/urlreload.py",
        "cms_urlreload/migrations/0001_permissions.py",
        "cms_urlreload/py.typed",
        "cms_urlreload/static/cms_urlreload/admin.css",
        "cms_urlreload/static/cms_urlreload/admin.js",
        "cms_urlreload/templates/admin/cms_urlreload/page.html",
        "cms_urlreload_pg/migrations/0001_triggers.py",
        "cms_urlreload_pg/py.typed",
    } <= inside


def test_the_version_is_that_of_the_package(built: list[Path]) -> None:
    version = cms_urlreload.__version__
    assert [path.name for path in built] == [
        f"django_cms_urlreload-{version}.tar.gz",
        f"django_cms_urlreload-{version}-py3-none-any.whl",
    ]


def test_two_builds_are_equal(built: list[Path], tmp_path: Path) -> None:
    """Also of another folder, whose files are of another time."""
    source = tmp_path / "source"
    source.mkdir()
    for folder in FOLDERS:
        shutil.copytree(
            ROOT / folder,
            source / folder,
            ignore=shutil.ignore_patterns("__pycache__"),
            copy_function=shutil.copy,
        )
    for name in (*TOP_LEVEL, ".gitignore"):
        shutil.copy(ROOT / name, source)
    again = build(source, tmp_path / "dist")
    assert [path.name for path in again] == [path.name for path in built]
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in built]


def test_what_is_uploaded_is_well_formed(built: list[Path], wheel: Path) -> None:
    run(sys.executable, "-m", "twine", "check", "--strict", *map(str, built))
    run(sys.executable, "-m", "check_wheel_contents", str(wheel))


class TestSourceArchive:
    def test_it_has_what_the_make_targets_need(self, unpacked: Path) -> None:
        assert {path.name for path in unpacked.iterdir() if path.is_file()} >= TOP_LEVEL
        assert files(unpacked, FOLDERS) == files(ROOT, FOLDERS)

    def test_its_tests_run(self, unpacked: Path) -> None:
        pytest_ = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
        assert "/test_package.py" in run(*pytest_, "--collect-only", cwd=unpacked)
        assert " passed" in run(*pytest_, "tests/unit/test_state.py", cwd=unpacked)


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


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel, and what comes with it."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    # packaging: django CMS imports it without declaring it.
    requirements = (str(wheel), "packaging", "typing-extensions", "Django~=5.2.0")
    run(str(python), "-m", "pip", "install", "--quiet", *requirements)
    return python


def test_the_wheel_works_in_a_clean_environment(python: Path, tmp_path: Path) -> None:
    """With SQLite, and without psycopg: what is installed when nobody asks for more."""
    ids, state = run(str(python), "-c", PROGRAM, cwd=tmp_path).splitlines()
    assert sorted(ast.literal_eval(ids)) == ["cms_urlreload_pg.I002", "cms_urlreload_pg.W001"]
    assert state == "True poll"


class TestTypes:
    """What users' type checkers make of the wheel, in an environment without stubs of Django."""

    @pytest.fixture
    def consumer(self, tmp_path: Path) -> Path:
        return Path(shutil.copy(ROOT / "tests" / "e2e" / "consumer.py", tmp_path))

    def test_mypy(self, python: Path, consumer: Path) -> None:
        run(
            *(sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir=/dev/null"),
            *(f"--python-executable={python}", consumer.name),
            cwd=consumer.parent,
        )

    def test_pyright(self, python: Path, consumer: Path) -> None:
        run(
            *(sys.executable, "-m", "pyright", "--warnings", f"--pythonpath={python}"),
            consumer.name,
            cwd=consumer.parent,
        )

    def test_they_see_what_is_wrong(self, python: Path, consumer: Path) -> None:
        """Were the package not typed for them, they would find nothing in what follows."""
        with consumer.open("a") as file:
            file.write("\n\nwrong: int = get_status().mode.reason\n")
        for test in (self.test_mypy, self.test_pyright):
            with pytest.raises(AssertionError, match=r'"str"'):
                test(python, consumer)
