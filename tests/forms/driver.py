"""Tells what processes answer that mount ``cms.urls`` in one of the forms of the catalogue.

``python -m tests.forms.driver``, and a form's name on each line of its input; the answers are lines
of JSON. This process itself never imports a URL: each that does is a fork of it.

* one lives through all changes of the pages, and refreshes after each, as the middleware does;
* after each change another one is started, of django CMS alone: what it answers is right.
"""

from __future__ import annotations

import inspect
import json
import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django

#: Paths below the place where a form mounts the CMS.
PATHS = (
    "",
    "cms_wizard/create/",
    "news/",
    "news/first-story/",
    "moved/",
    "moved/first-story/",
    "events/",
    "plain/",
    "nowhere/",
)
#: Those that somebody who is logged in asks for.
USER_PATHS = ("", "news/", "moved/", "events/")
NAMES = ("news:story-list", "events:event-list", "beside", "pages-root", "cms_login")
STEPS = {"none": ("start", "news", "events"), "one": ("news", "move", "remove", "events")}


def main() -> None:
    """Answer."""
    django.setup()
    from django.core.management import call_command

    with tempfile.TemporaryDirectory() as folder:
        use_database(Path(folder) / "template.sqlite3")
        call_command("migrate", verbosity=0)
        in_child(make_content)
        warm_up()
        for line in sys.stdin:
            print(json.dumps(answers(line.strip(), Path(folder))), flush=True)


def warm_up() -> None:
    """Load what each of the forks would load by itself, and no URLs."""
    import cms.toolbar.toolbar
    import cms.views
    import cms.wizards.views  # noqa: F401
    from django.template.loader import get_template

    for name in ("demo/page.html", "news/story_list.html", "news/story.html", "404.html"):
        try:
            get_template(name)
        except Exception:  # there is none of it
            continue
    assert "cms.urls" not in sys.modules


def use_database(path: Path) -> None:
    from django.db import connections

    connections.close_all()
    connections["default"].settings_dict["NAME"] = str(path)


def in_child(function: Callable[[], Any]) -> Any:
    """Return what a function does in a fork of this process."""
    from django.db import connections

    connections.close_all()
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.close(reader)
            with os.fdopen(writer, "w") as pipe:
                json.dump(_caught(function), pipe)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        answer = json.load(pipe)
    os.waitpid(pid, 0)
    if isinstance(answer, dict) and "traceback" in answer:
        raise RuntimeError(answer["traceback"])
    return answer


def _caught(function: Callable[[], Any]) -> Any:
    try:
        return function()
    except BaseException:
        return {"traceback": traceback.format_exc()}


def make_content() -> None:
    from django.contrib.auth import get_user_model
    from django.db import transaction

    from tests.demo.content import _create_objects, _set_site

    with transaction.atomic():
        _set_site()
        # Nobody who sees the toolbar: that reverses URLs of the admin.
        get_user_model()._default_manager.create(username="reader")
        _create_objects()
        make_page("home", None).set_as_homepage()
        make_page("plain", None)


def make_page(slug: str, apphook: str | None) -> Any:
    from cms.api import create_page

    return create_page(
        slug.title(),
        "demo/page.html",
        "en",
        slug=slug,
        reverse_id=slug,
        apphook=apphook,
        apphook_namespace=slug if apphook else None,
    )


def change(step: str) -> None:
    """Change the pages."""
    from cms.models import Page, PageUrl
    from cms.utils.apphook_reload import mark_urlconf_as_changed
    from django.db import transaction

    if step == "news":
        with transaction.atomic():
            make_page("news", "NewsApphook")
    elif step == "events":
        with transaction.atomic():
            make_page("events", "EventsApphook")
    elif step == "move":
        PageUrl.objects.filter(path="news").update(slug="moved", path="moved")
    elif step == "remove":
        Page.objects.get(reverse_id="news").delete()  # and there is no apphook any more
    mark_urlconf_as_changed()


def answers(name: str, folder: Path) -> dict[str, Any]:
    """Return, for each history of the pages, the steps with both answers."""
    from tests.forms.catalogue import FORMS, SOURCES

    modules = folder / name
    modules.mkdir()
    for module, source in SOURCES[name].items():
        (modules / f"{module}.py").write_text(source + "import form_log; form_log.add(__name__)\n")
    (modules / "form_log.py").write_text("names = []\nadd = names.append\n")
    sys.path.insert(0, str(modules))
    from django.conf import settings

    settings.ROOT_URLCONF = "form_root"
    urlconfs = [None] + [each for each in FORMS[name].modules if each == "form_other"]
    try:
        return {
            history: _history(history, steps, folder, FORMS[name].mount, urlconfs)
            for history, steps in STEPS.items()
        }
    except Exception:
        return {"traceback": traceback.format_exc()}
    finally:
        sys.path.remove(str(modules))


def _history(
    history: str, steps: tuple[str, ...], folder: Path, mount: str, urlconfs: list[str | None]
) -> list[Any]:
    database = folder / "site.sqlite3"
    shutil.copy(folder / "template.sqlite3", database)
    use_database(database)
    in_child(lambda: change(steps[0]))
    ours, told = _begin_ours(mount, urlconfs)
    found = []
    try:
        for step in steps:
            if step != steps[0]:
                in_child(lambda: change(step))  # noqa: B023
            print("look", file=told, flush=True)
            expected = in_child(lambda: probe(mount, urlconfs))  # at the same time
            answer = json.loads(ours.readline())
            if "traceback" in answer:
                raise RuntimeError(answer["traceback"])
            found.append({"step": step, "expected": expected, **answer})
    finally:
        told.close()
        ours.close()
        os.wait()
    return found


def _begin_ours(mount: str, urlconfs: list[str | None]) -> Any:
    from django.db import connections

    connections.close_all()
    their_input, our_output = os.pipe()
    our_input, their_output = os.pipe()
    if not os.fork():
        try:
            os.close(our_output)
            os.close(our_input)
            with os.fdopen(their_input) as lines, os.fdopen(their_output, "w") as output:
                for _ in lines:
                    json.dump(_caught(lambda: _ours(mount, urlconfs)), output)
                    print(file=output, flush=True)
        finally:
            os._exit(0)
    os.close(their_input)
    os.close(their_output)
    return os.fdopen(our_input), os.fdopen(our_output, "w")


def _ours(mount: str, urlconfs: list[str | None]) -> dict[str, Any]:
    from cms_urlreload import process

    process.state.mark_dirty()
    process.refresh()
    if process.reloader.failure:
        raise RuntimeError(process.reloader.failure)
    import form_log  # type: ignore[import-not-found]

    found = probe(mount, urlconfs)
    return {"found": found, "imports": list(form_log.names)}


def probe(mount: str, urlconfs: list[str | None]) -> dict[str, Any]:
    """Ask all there is to ask."""
    if urlconfs[1:]:
        # The first time, one of them is imported by a request that comes after others.
        _probe(mount, urlconfs)
    return _probe(mount, urlconfs)


def _probe(mount: str, urlconfs: list[str | None]) -> dict[str, Any]:
    from django.contrib.auth import get_user_model
    from django.test import Client

    anonymous = Client(raise_request_exception=False)
    user = Client(raise_request_exception=False)
    user.force_login(get_user_model()._default_manager.get())
    found: dict[str, Any] = {}
    for urlconf in urlconfs:
        headers = {"HTTP_X_URLCONF": urlconf} if urlconf else {}
        for path in PATHS:
            for who, client in (("anonymous", anonymous), ("user", user)):
                if who == "user" and path not in USER_PATHS:
                    continue
                response = client.get(mount + path, **headers)  # type: ignore[arg-type]
                found[f"{urlconf} {who} /{path}"] = [
                    response.status_code,
                    response.get("Location", ""),
                    response.get("X-Depth", ""),
                ]
            found[f"{urlconf} resolve /{path}"] = _resolved(mount + path, urlconf)
        for name in NAMES:
            found[f"{urlconf} reverse {name}"] = _reversed(name, urlconf)
    return found


def _resolved(path: str, urlconf: str | None) -> Any:
    from django.urls import Resolver404, resolve

    try:
        match = resolve(path, urlconf)
    except Resolver404:
        return None
    view = inspect.unwrap(match.func)
    name = getattr(view, "__name__", type(view).__name__)
    return [match.view_name, match.app_names, name, match.kwargs]


def _reversed(name: str, urlconf: str | None) -> str | None:
    from django.urls import NoReverseMatch, reverse
    from django.utils.translation import override

    try:
        with override("en"):
            return reverse(name, urlconf)
    except NoReverseMatch:
        return None


class UrlconfOfRequest:
    """A middleware: the urlconf of a request is what its header says."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        if "X-Urlconf" in request.headers:
            request.urlconf = request.headers["X-Urlconf"]
        return self.get_response(request)


if __name__ == "__main__":
    main()
