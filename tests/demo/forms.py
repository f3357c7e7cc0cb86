"""Reads HTML forms as a browser does: every field with the value that would be posted back."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

_NOT_POSTED = {"submit", "button", "reset", "image", "file"}

Attributes = dict[str, str]


@dataclass
class Form:
    """A form's attributes and fields, in order; a field may come more than once."""

    attributes: Attributes
    fields: list[tuple[str, str]] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    def filled(self, changes: dict[str, str]) -> list[tuple[str, str]]:
        """All fields with ``changes`` made; a changed field is posted once."""
        kept = [(name, value) for name, value in self.fields if name not in changes]
        return [*kept, *changes.items()]


class _Reader(HTMLParser):
    """Collects the forms of a page, and the texts of its error lists."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.errors: list[str] = []
        self._form: Form | None = None
        self._textarea: str | None = None
        self._select: _Select | None = None
        self._error_depth = 0
        self._text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        classes = values.get("class", "").split()
        if tag == "ul" and (self._error_depth or "errorlist" in classes):
            self._error_depth += 1
        elif tag == "p" and "errornote" in classes:
            self._text = []
        if tag == "form":
            self._form = Form(values)
            self.forms.append(self._form)
        elif self._form is not None:
            self._handle_field(tag, values, self._form)

    def _handle_field(self, tag: str, values: Attributes, form: Form) -> None:
        name = values.get("name", "")
        if tag == "option" and self._select is not None:
            self._select.add(values)
        if not name or "disabled" in values:
            return
        form.names.add(name)
        if tag == "input":
            kind = values.get("type", "text").lower()
            checkable = kind in ("checkbox", "radio")
            if kind not in _NOT_POSTED and (not checkable or "checked" in values):
                form.fields.append((name, values.get("value", "on" if checkable else "")))
        elif tag == "textarea":
            self._textarea, self._text = name, []
        elif tag == "select":
            self._select = _Select(name, multiple="multiple" in values)

    def handle_data(self, data: str) -> None:
        if self._error_depth and data.strip():
            self.errors.append(data.strip())
        self._text.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "ul" and self._error_depth:
            self._error_depth -= 1
        if self._form is None:
            return
        if tag == "form":
            self._form = None
        elif tag == "textarea" and self._textarea is not None:
            # HTML drops one newline after the start tag; Django's widget always writes one.
            text = "".join(self._text).replace("\r\n", "\n").removeprefix("\n")
            self._form.fields.append((self._textarea, text))
            self._textarea = None
        elif tag == "select" and self._select is not None:
            self._form.fields += self._select.posted()
            self._select = None


@dataclass
class _Select:
    """A select's options; without a selected one a single select posts its first."""

    name: str
    multiple: bool
    first: str | None = None
    selected: list[str] = field(default_factory=list)

    def add(self, option: Attributes) -> None:
        value = option.get("value", "")
        if self.first is None:
            self.first = value
        if "selected" in option:
            self.selected.append(value)

    def posted(self) -> list[tuple[str, str]]:
        if self.multiple:
            return [(self.name, value) for value in self.selected]
        if self.selected:
            return [(self.name, self.selected[-1])]
        return [] if self.first is None else [(self.name, self.first)]


def read_forms(html: str) -> tuple[list[Form], list[str]]:
    """The page's forms, and the messages in its error lists."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader.forms, reader.errors


def find_form(html: str, *names: str) -> Form | None:
    """The form that has all of these fields."""
    forms, _ = read_forms(html)
    return next((form for form in forms if form.names.issuperset(names)), None)
