"""What it was measured on and with, as far as a figure may depend on it; not whose it is."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import version
from pathlib import Path

import psycopg

from tests.support.postgres import provide_server

_PACKAGES = {
    "Django": "django",
    "django CMS": "django-cms",
    "psycopg": "psycopg",
    "gunicorn": "gunicorn",
    "uvicorn": "uvicorn",
}


def describe_machine() -> dict[str, str | int]:
    """Return cores, CPU and operating system."""
    return {"cores": os.cpu_count() or 0, "CPU": _cpu(), "OS": _system()}


def describe_versions() -> dict[str, str]:
    """Return the versions of everything that takes part."""
    packages = {name: version(package) for name, package in _PACKAGES.items()}
    return {"Python": platform.python_version(), **packages, "PostgreSQL": _postgres()}


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    return found[1] if found else platform.machine()


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def _postgres() -> str:
    with provide_server() as server, psycopg.connect(server.dsn()) as connection:
        number = connection.info.server_version
    return f"{number // 10_000}.{number % 10_000}"
