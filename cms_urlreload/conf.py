"""The setting ``CMS_URLRELOAD``: one dictionary, read once into a frozen, typed object.

A wrong key or value is named by a system check, and stops the server at its start rather than
failing a request later.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

SETTING = "CMS_URLRELOAD"

# NAMEDATALEN - 1: LISTEN cuts a longer name in silence, pg_notify() refuses it.
# https://www.postgresql.org/docs/current/sql-listen.html
MAX_CHANNEL_BYTES = 63

#: Longest duration, in seconds: a day. A number that is given in another unit is found by it, and
#: epoll waits no longer than 24 days.
MAX_SECONDS = 86400


@dataclass(frozen=True)
class Settings:
    """What ``CMS_URLRELOAD`` says. Keys are the names of the fields in upper case.

    Durations are in seconds.
    """

    #: Longest time between two looks at the token while nothing is pushed. 0: at every request.
    poll_interval: float = 1.0
    #: How long one look at the database may wait for it. Past that, a request goes on with the last
    #: good URLs.
    refresh_timeout: float = 2.0
    #: Time between two proofs that the listener's connection lives; bounds staleness in push mode.
    heartbeat_interval: float = 10.0
    #: How long the server may take to answer a heartbeat before its connection is given up.
    heartbeat_timeout: float = 5.0
    #: How long one attempt to connect the listener may take (libpq's ``connect_timeout``).
    connect_timeout: float = 5.0
    #: The PostgreSQL channel of ``LISTEN`` and ``NOTIFY``.
    channel: str = "apphooks"
    #: Whether this process may listen. None: yes, except in a test run.
    listen: bool | None = None
    #: Alias in ``DATABASES`` to LISTEN on, where it is not the one that pages are written to
    #: (say, the server itself, past a pooler that swallows LISTEN).
    listen_database: str | None = None
    #: The same as a connection string of libpq. Wins over ``listen_database``.
    listen_dsn: str | None = None
    #: Models ("app_label.ModelName") whose rows an apphook's ``get_urls()`` reads: a save or a
    #: delete of one has every process build its URLs again.
    config_models: tuple[str, ...] = ()
    #: Whether there are metrics for Prometheus. See :mod:`cms_urlreload.metrics`.
    metrics: bool = False


@dataclass(frozen=True)
class Problem:
    """One wrong key or value of the setting."""

    key: str
    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self.message} {self.hint}"


def _seconds(value: object, least: float, including: bool = True) -> bool:
    """Whether this is a number in the range; NaN is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return (least <= value if including else least < value) and value <= MAX_SECONDS


def _not_negative(value: object) -> str | None:
    return None if _seconds(value, 0) else f"a number of seconds, 0 to {MAX_SECONDS}"


def _positive(value: object) -> str | None:
    if _seconds(value, 0, including=False):
        return None
    return f"a number of seconds above 0, and no more than {MAX_SECONDS}"


def _refresh_timeout(value: object) -> str | None:
    # Less is less than a server needs for a new session.
    return None if _seconds(value, 0.1) else f"a number of seconds, 0.1 to {MAX_SECONDS}"


def _connect_timeout(value: object) -> str | None:
    # libpq counts whole seconds and rounds 1 up to 2.
    # https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-CONNECT-TIMEOUT
    return None if _seconds(value, 2) else f"a number of seconds, 2 to {MAX_SECONDS}"


def _channel(value: object) -> str | None:
    fits = isinstance(value, str) and 0 < len(value.encode()) <= MAX_CHANNEL_BYTES
    if fits and "\0" not in value:  # type: ignore[operator]
        return None
    return f"a name of 1 to {MAX_CHANNEL_BYTES} bytes, without a null character"


def _true_false_none(value: object) -> str | None:
    return None if value is None or isinstance(value, bool) else "True, False or None"


def _name_or_none(value: object) -> str | None:
    return None if value is None or (isinstance(value, str) and value) else "a string or None"


def _model_names(value: object) -> str | None:
    if isinstance(value, (list, tuple)) and all(_is_model_name(name) for name in value):
        return None
    return 'a list of model names, each as "app_label.ModelName"'


def _is_model_name(value: object) -> bool:
    return isinstance(value, str) and value.count(".") == 1 and all(value.split("."))


def _metrics(value: object) -> str | None:
    if not isinstance(value, bool):
        return "True or False"
    if value and importlib.util.find_spec("prometheus_client") is None:
        return "False where prometheus_client is not installed (django-cms-urlreload[prometheus])"
    return None


#: What each key must be: a function that returns None, or the words for what it wants.
_RULES: dict[str, Callable[[object], str | None]] = {
    "POLL_INTERVAL": _not_negative,
    "REFRESH_TIMEOUT": _refresh_timeout,
    "HEARTBEAT_INTERVAL": _positive,
    "HEARTBEAT_TIMEOUT": _positive,
    "CONNECT_TIMEOUT": _connect_timeout,
    "CHANNEL": _channel,
    "LISTEN": _true_false_none,
    "LISTEN_DATABASE": _name_or_none,
    "LISTEN_DSN": _name_or_none,
    "CONFIG_MODELS": _model_names,
    "METRICS": _metrics,
}
_SECRET = frozenset({"LISTEN_DSN"})


def parse(raw: object) -> tuple[Settings, list[Problem]]:
    """Read a value of ``CMS_URLRELOAD``; return the settings and all that is wrong with it.

    A wrong key is left out and a wrong value replaced by its default, so that one run of the
    system checks can report everything.
    """
    if not isinstance(raw, Mapping):
        hint = 'Write it as CMS_URLRELOAD = {"POLL_INTERVAL": 1.0}.'
        return Settings(), [
            Problem("", f"{SETTING} must be a dictionary, not {type(raw).__name__}.", hint)
        ]
    good: dict[str, Any] = {}
    problems: list[Problem] = []
    for key, value in raw.items():
        problem = _problem_with(key, value)
        if problem is not None:
            problems.append(problem)
        else:
            good[key.lower()] = tuple(value) if isinstance(value, list) else value
    return Settings(**good), problems


def read() -> tuple[Settings, list[Problem]]:
    """Read the setting as it stands; never raises. For what must go on, or tell, all the same."""
    return parse(getattr(django_settings, SETTING, {}))


def _problem_with(key: object, value: object) -> Problem | None:
    rule = _RULES.get(key) if isinstance(key, str) else None
    if rule is None:
        return Problem(
            str(key), f"{SETTING} has an unknown key {key!r}.", f"Known keys: {', '.join(_RULES)}."
        )
    wanted = rule(value)
    if wanted is None:
        return None
    shown = "what it holds" if key in _SECRET else repr(value)
    return Problem(str(key), f"{SETTING}[{key!r}] must be {wanted}, not {shown}.", "Correct it.")


@functools.cache
def get_settings() -> Settings:
    """Return the settings of this process.

    :raises ImproperlyConfigured: names each wrong key and what it should be.
    """
    settings, problems = read()
    if problems:
        raise ImproperlyConfigured(" ".join(str(problem) for problem in problems))
    return settings


def _on_setting_changed(*, setting: str, **kwargs: Any) -> None:
    if setting == SETTING:
        get_settings.cache_clear()


setting_changed.connect(_on_setting_changed, dispatch_uid="cms_urlreload.conf")
