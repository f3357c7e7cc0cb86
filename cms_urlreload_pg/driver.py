"""Whether there is a psycopg that the listener can use. Imports none."""

from __future__ import annotations

from importlib import metadata

#: 3.2.3 loses notifications that arrive outside its generator, 3.2.4 to 3.2.9 leak them.
REQUIRED = (3, 2, 10)

#: What to do if there is none.
REMEDY = 'Install it: pip install "django-cms-urlreload[postgres]".'


def missing() -> str | None:
    """Return what is wrong with the installed psycopg, in a few words; None if nothing is."""
    wanted = ".".join(map(str, REQUIRED))
    try:
        installed = metadata.version("psycopg")
    except metadata.PackageNotFoundError:
        return f"psycopg {wanted} or newer is not installed"
    numbers = tuple(int(part) for part in installed.split(".")[:3] if part.isdigit())
    if numbers < REQUIRED:
        return f"psycopg {installed} is installed, and {wanted} or newer is needed"
    try:
        import psycopg  # noqa: F401  # is there a libpq for it?
    except ImportError as error:
        return f"psycopg {installed} cannot be imported ({error})"
    return None
