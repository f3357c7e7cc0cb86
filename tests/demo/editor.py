"""An editor who works in django CMS's admin over HTTP, with its real forms.

Every form is read from its page and posted back whole, as a browser does. Refuses to go on when
a form comes back with errors.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from tests.demo.client import Response, Session
from tests.demo.forms import Form, find_form, read_forms

if TYPE_CHECKING:
    from tests.demo.site import DemoSite, Worker

ADMIN = "/en/admin"
_ROW = re.compile(r'\sdata-id="(\d+)"\s+data-node-id=')


class EditorError(RuntimeError):
    """The admin did not accept a change; the message has the form's errors."""


class Editor:
    """Logged in as the superuser. ``worker`` is the one that gets the requests, or None for any."""

    def __init__(
        self,
        site: DemoSite,
        worker: Worker | None = None,
        *,
        username: str = "admin",
        password: str = "admin",
    ) -> None:
        self._site = site
        self._session = Session(site.address)
        self.use_worker(worker)
        self._log_in(username, password)

    def use_worker(self, worker: Worker | None) -> None:
        """Send the requests from now on to ``worker``; None is the shared address."""
        self._session.base_url = worker.base_url if worker else self._site.address

    def _log_in(self, username: str, password: str) -> None:
        path = f"{ADMIN}/login/?next={ADMIN}/"
        self.submit(path, {"username": username, "password": password})

    # Pages

    def attach_apphook(self, page_id: int, apphook: str, namespace: str = "") -> Response:
        """Advanced settings: attach an apphook. Without a namespace it gets its ``app_name``."""
        changes = {"application_urls": apphook, "application_namespace": namespace}
        return self._advanced_settings(page_id, changes)

    def detach_apphook(self, page_id: int) -> Response:
        changes = {"application_urls": "", "application_namespace": ""}
        return self._advanced_settings(page_id, changes)

    def change_slug(self, page_id: int, language: str, slug: str) -> Response:
        return self._page_settings(page_id, language, {"slug": slug})

    def change_title(self, page_id: int, language: str, title: str) -> Response:
        return self._page_settings(page_id, language, {"title": title})

    def set_overwrite_url(self, page_id: int, language: str, path: str) -> Response:
        """Set the whole path of a page, without the language; an empty one clears it."""
        return self._page_settings(page_id, language, {"overwrite_url": path})

    def create_page(
        self, title: str, slug: str, language: str = "en", *, parent: int | None = None
    ) -> int:
        """Create a page, on 5.1 published at once, and return its id."""
        query = f"language={language}" + (f"&parent_page={parent}" if parent else "")
        before = set(self.page_ids(language))
        self.submit(f"{ADMIN}/cms/pagecontent/add/?{query}", {"title": title, "slug": slug})
        (new,) = set(self.page_ids(language)) - before
        return new

    def add_language(self, page_id: int, language: str, title: str, slug: str) -> Response:
        """Add a page's content in one more language."""
        path = f"{ADMIN}/cms/pagecontent/add/?cms_page={page_id}&language={language}"
        return self.submit(path, {"title": title, "slug": slug})

    def delete_page(self, page_id: int) -> Response:
        """Delete a page with everything below it, through the confirmation's form."""
        return self.submit(f"{ADMIN}/cms/page/{page_id}/delete/", {"post": "yes"})

    def delete_language(self, page_id: int, language: str) -> Response:
        content_id = self.content_id(page_id, language)
        return self.submit(f"{ADMIN}/cms/pagecontent/{content_id}/delete/", {"post": "yes"})

    def move_page(self, page_id: int, parent: int | None = None, position: int = 0) -> Response:
        """Move a page, as dragging it in the page tree does; without a parent to the root."""
        target = {"target": str(parent)} if parent else {}
        return self._post(
            f"{ADMIN}/cms/page/{page_id}/move-page/", {"position": str(position), **target}
        )

    def set_home(self, page_id: int) -> Response:
        return self._post(f"{ADMIN}/cms/page/{page_id}/set-home/", {})

    # What is there

    def page_ids(self, language: str = "en") -> list[int]:
        """The pages in the page tree, in its order."""
        return list(self._rows(language))

    def content_id(self, page_id: int, language: str) -> int:
        """The id of a page's content in a language; with versions, of its latest."""
        row = self._rows(language).get(page_id, "")
        if found := re.search(r"/cms/pagecontent/(\d+)/change/", row):
            return int(found[1])
        raise EditorError(f"the page tree has no {language!r} content of page {page_id}")

    def _rows(self, language: str) -> dict[int, str]:
        """The page tree's rows by page; opened until no more pages come to light."""
        rows: dict[int, str] = {}
        while True:
            opened = "".join(f"&openNodes[]={page_id}" for page_id in rows)
            path = f"{ADMIN}/cms/pagecontent/get-tree/?language={language}{opened}"
            parts = _ROW.split(self._session.get(path).text)
            found = dict(zip(map(int, parts[1::2]), parts[2::2], strict=True))
            if len(found) == len(rows):
                return found
            rows = found

    # Forms

    def _advanced_settings(self, page_id: int, changes: dict[str, str]) -> Response:
        return self.submit(f"{ADMIN}/cms/page/{page_id}/advanced-settings/", changes)

    def _page_settings(self, page_id: int, language: str, changes: dict[str, str]) -> Response:
        content_id = self.content_id(page_id, language)
        path = f"{ADMIN}/cms/pagecontent/{content_id}/change/?language={language}"
        return self.submit(path, changes)

    def submit(self, path: str, changes: dict[str, str]) -> Response:
        """Get the form at ``path``, change some of its fields, post it; return the redirect."""
        form = self._read_form(path, changes)
        posted = form.filled({**changes, "_save": "Save"})
        target = urljoin(path, form.attributes.get("action", ""))
        answer = self._session.post(target, posted)
        if answer.status not in (301, 302, 303):
            raise EditorError(_refusal(answer, path))
        return answer

    def _read_form(self, path: str, changes: dict[str, str]) -> Form:
        page = self._session.get(path)
        form = find_form(page.text, "csrfmiddlewaretoken", *changes)
        if page.status != 200 or form is None:
            raise EditorError(
                f"{path} answered {page.status} {page.location} with no form for {list(changes)}"
            )
        return form

    def _post(self, path: str, data: dict[str, str]) -> Response:
        """What the page tree's scripts do: a bare POST with the CSRF token of the cookie."""
        token = self._session.cookies["csrftoken"].value
        answer = self._session.post(path, data, **{"X-CSRFToken": token})
        if answer.status != 200:
            raise EditorError(_refusal(answer, path))
        return answer


def _refusal(answer: Response, path: str) -> str:
    _, errors = read_forms(answer.text)
    reason = "; ".join(errors) or " ".join(re.sub(r"<[^>]*>", " ", answer.text).split())[:300]
    return f"{path} answered {answer.status}: {reason}"
