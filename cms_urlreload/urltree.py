"""Puts new apphook resolvers into the URL trees of this process.

With slot, urlforms, importing and hookresolver, all that uses private parts of Django's URL
resolvers. It imports no module a second time and executes no user code, but where a urlconf did
with the patterns of django CMS what cannot be followed (see importing).

A tree is lists of resolvers. Each place where apphooks hang (``cms.urls``, wherever it is
included) holds one *slot*; publishing puts another slot there, which is one assignment to one
element of a list. A resolver on the way from a root to a slot remembers what ``reverse()`` found
below it, so each of those is replaced by a copy that remembers nothing. All others stay, with
what they know. The lists stay too, and so does what somebody appended to one of them at run time.

All trees are looked through before anything is assigned: what can fail, fails before that.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import sys
from collections.abc import Collection, Iterator, MutableMapping, Sequence
from types import ModuleType
from typing import Any, cast

from cms import appresolver
from cms.appresolver import AppRegexURLResolver
from django.conf import settings
from django.urls import URLPattern, URLResolver, clear_url_caches, get_resolver
from django.utils.translation import get_language

from . import overrides, urlforms
from .hookresolver import Pattern
from .importing import import_again, in_order
from .slot import Slot, without_memory

logger = logging.getLogger(__name__)


class Trunk(URLResolver):
    """A resolver on the way to a slot. It does not have those beside it look once more at what they
    know already, as Django does: for a site with an admin that is most of the first reverse().
    """

    #: What was below a resolver, in a language, when it looked there last.
    _settled: MutableMapping[tuple[int, str], tuple[URLResolver, list[Pattern]]]

    def _populate(self) -> None:
        language = get_language()
        looks = {
            # The resolver is kept as well, so that its id is not given to another.
            (id(pattern), language): (pattern, below)
            for pattern in self.url_patterns
            if isinstance(pattern, URLResolver) and (below := _all_below(pattern)) is not None
        }
        settled = [
            pattern
            for key, (pattern, below) in looks.items()
            if self._settled.get(key) == (pattern, below) and language in pattern._reverse_dict
        ]
        with _left_alone(settled):
            super()._populate()
        self._settled.update(looks)


def _all_below(resolver: URLResolver, *above: URLResolver) -> list[Pattern] | None:
    """Return all patterns below a resolver; None if one of them computes what is below it, or
    includes itself."""
    if type(resolver) is not URLResolver or resolver in above:
        return None
    found: list[Pattern] = []
    for pattern in resolver.url_patterns:
        found.append(pattern)
        if isinstance(pattern, URLResolver):
            below = _all_below(pattern, resolver, *above)
            if below is None:
                return None
            found += below
    return found


@contextlib.contextmanager
def _left_alone(resolvers: list[URLResolver]) -> Iterator[None]:
    """Have Django pass these resolvers by when it populates the one above, in this thread: as it
    does with one that it is in the middle of populating."""
    marked = [each for each in resolvers if not getattr(each._local, "populating", False)]
    for each in marked:
        each._local.populating = True
    try:
        yield
    finally:
        for each in marked:
            each._local.populating = False


class Publisher:
    """Publishes apphook resolvers, for all urlconfs of the process. One thread at a time."""

    def __init__(self) -> None:
        self._slot: Slot | None = None
        self._app_resolvers: list[AppRegexURLResolver] = []
        self._cms_list: object = None
        # Whether some urlconf wraps what it finds. It stays so: while there is no apphook, there
        # may be nothing to see of it.
        self._wraps = False
        self._said: set[str] = set()
        #: What urlconfs do that cannot be followed, so that they are imported again.
        self.findings: tuple[str, ...] = ()

    def is_published(self) -> bool:
        """Whether what was published last is still in place: django CMS's own reloading, under
        ``runserver`` with DEBUG or in its middleware, throws it out."""
        return (
            self._slot is not None
            and appresolver.APP_RESOLVERS is self._app_resolvers
            and _cms_urls().urlpatterns is self._cms_list
        )

    def publish(
        self,
        resolvers: Sequence[AppRegexURLResolver],
        patterns: Sequence[Pattern] | None = None,
    ) -> int:
        """Replace the apphooks of all urlconfs; return the number of resolvers copied for it.

        A reader meets the old apphooks or the new ones at any moment, and never none. Raises
        before anything has changed, or not at all.

        :param resolvers: those by which django CMS finds the page of a request.
        :param patterns: what is put in the place of the apphooks, if it is not these resolvers.
        """
        slot = Slot(resolvers if patterns is None else patterns)
        survey = survey_urlconfs(slot)
        self._say_broken(survey)
        self._wraps = self._wraps or survey.wraps
        if survey.findings or not self._wraps:
            self.findings = tuple(survey.findings)
        if self._wraps or survey.findings:
            copies = self._import_again(slot, survey)
        else:
            survey.assign()
            copies = len(survey.copies)
        # django CMS finds the page of a request, and so its permissions, by this list. Not the
        # list of the slot: what builds URLs in django CMS appends to it.
        self._app_resolvers = appresolver.APP_RESOLVERS = list(resolvers)
        # Django's cached roots hold what reverse() knew of the old trees.
        clear_url_caches()
        self._cms_list = _cms_urls().urlpatterns
        self._slot = slot
        return copies

    def _import_again(self, slot: Slot, survey: Survey) -> int:
        modules = in_order(survey.leading_modules())
        needed = {*survey.modules_of_root(), settings.ROOT_URLCONF}
        failed = import_again(slot, modules, needed, survey.all_lists())
        names = ", ".join(module.__name__ for module in modules)
        self._say(
            names,
            logging.WARNING,
            f"Imported again at each change of apphook URLs, as django CMS does it: {names}. "
            f"{' '.join(self.findings)} {REMEDY}",
        )
        for name, error in failed.items():
            self._say(
                f"{name} {error}",
                logging.ERROR,
                f"The urlconf {name} cannot be imported again ({error}): it keeps the apphook URLs "
                "that it has.",
            )
        return 0

    def _say_broken(self, survey: Survey) -> None:
        for name, error in survey.broken.items():
            self._say(
                f"{name} {error}",
                logging.WARNING,
                f"A part of the urlconf {name} cannot be looked at ({error}); it is passed over. "
                "The apphook URLs of all others are current.",
            )

    def _say(self, what: str, level: int, text: str) -> None:
        if what not in self._said:
            self._said.add(what)
            logger.log(level, text)


_WRAPPED = "views of django CMS are wrapped."
#: Names of patterns that stand together in a copy of ``cms.urls``, and nowhere else.
_OF_A_COPY = {"pages-details-by-slug", "pages-root"}
#: What people can do about a finding.
REMEDY = (
    'It can be followed without: path("", include("cms.urls")) as it is, with Django\'s '
    "LoginRequiredMiddleware or the page's own view restrictions in place of a decorator; or a "
    "subclass of URLResolver with a resolve() of its own."
)


def survey_root() -> Survey:
    """Look through ROOT_URLCONF and what it includes; change nothing."""
    survey = Survey(Slot([]))
    root = get_resolver()
    root.url_patterns  # noqa: B018  # imports it
    survey.look_at_cms_urls()
    module = sys.modules[settings.ROOT_URLCONF]
    if "urlpatterns" in vars(module):
        survey.look_at(settings.ROOT_URLCONF, module, vars(module))
    survey.look_at_root(root)
    return survey


def survey_urlconfs(slot: Slot) -> Survey:
    """Look through the URL trees of this process; change nothing.

    :param slot: what :meth:`Survey.assign` puts into the place of the apphooks.
    """
    survey = Survey(slot)
    root = get_resolver()
    root.url_patterns  # noqa: B018  # imports ROOT_URLCONF, where nothing has yet
    survey.look_at_cms_urls()
    # Any module may be the urlconf of a request (``request.urlconf``) or be included in one.
    for name, module in list(sys.modules.items()):
        cls = type(module)
        # What else there is may do anything when it is looked at; so may a module of somebody's
        # own class, by its __getattribute__().
        if cls is ModuleType:
            namespace = module.__dict__
        elif issubclass(cls, ModuleType):
            namespace = object.__getattribute__(module, "__dict__")
        else:
            continue
        if "urlpatterns" in namespace:
            survey.look_at(name, module, namespace)
    survey.look_at_root(root)
    return survey


class _List:
    """One list of patterns of a tree, and what is to be changed of it."""

    __slots__ = ("changes", "leads", "modules", "patterns", "target")

    def __init__(self, patterns: Any) -> None:
        #: The list itself; kept, so that its id is not given to another.
        self.patterns = patterns
        #: The list to use from now on: the same one, if it can be changed.
        self.target: list[Pattern] = patterns if type(patterns) is list else list(patterns)
        #: Whether a place of apphooks is in or below it.
        self.leads = False
        #: New elements, each with the one that it replaces.
        self.changes: list[tuple[Pattern, Pattern]] = []
        #: The modules that are included below.
        self.modules: set[str] = set()

    def assign(self) -> None:
        """Make the changes. Fails at nothing."""
        for old, new in self.changes:
            for index, pattern in enumerate(self.target):
                if pattern is old:
                    self.target[index] = new
                    break


class Survey:
    """One walk over the URL trees, which finds the places of apphooks."""

    def __init__(self, slot: Slot) -> None:
        self._slot = slot
        # By identity, so that what is shared between trees stays shared.
        self._lists: dict[int, _List] = {}
        self.copies: dict[int, tuple[URLResolver, URLResolver]] = {}
        self._modules: dict[str, tuple[ModuleType, _List]] = {}
        self._fill: tuple[list[Pattern], list[Pattern]] | None = None
        self._cms_list: Any = None
        self._name = ""
        #: What cannot be followed, as sentences.
        self.findings: dict[str, None] = {}
        #: Whether something is wrapped, and not only out of place.
        self.wraps = False
        #: Whether ROOT_URLCONF leads to apphooks.
        self.root_leads = False
        #: Modules of which a part could not be looked at, each with the error.
        self.broken: dict[str, str] = {}

    def look_at_cms_urls(self) -> None:
        """Look at the list that all others are about."""
        self._name = "cms.urls"
        module = _cms_urls()
        self._cms_list = module.urlpatterns
        found = self._visit(self._cms_list)
        old = [each for each in found.target if urlforms.kind(type(each)) == "apphooks"]
        if len(old) != 1:
            # Only before the first publication: django CMS 5.0 and older keep each apphook in
            # the list itself, and none if there was none when cms.urls was imported.
            rest = [each for each in found.target if each not in old]
            rest.insert(found.target.index(old[0]) if old else 0, self._slot)
            found.changes.clear()
            self._fill = (found.target, rest)
        found.leads = True
        self._modules["cms.urls"] = (module, found)
        if overrides.asked_while_importing:
            self._find_wrapped(
                f"{', '.join(sorted(overrides.asked_while_importing))}: the apphooks are looked at "
                "when it is imported."
            )

    def look_at(self, name: str, module: ModuleType, namespace: dict[str, Any]) -> None:
        """Look at a module that has ``urlpatterns``."""
        patterns = namespace["urlpatterns"]
        if patterns is self._cms_list:
            if name != "cms.urls":
                self._modules[name] = (module, self._lists[id(patterns)])
            return
        self._name = name
        try:
            if type(patterns) is not list and not hasattr(type(patterns), "__iter__"):
                return
            found = self._visit(patterns)
        except Exception as error:  # whatever somebody's object raises: the others go on
            self._broken(error, namespace)
            return
        if found.leads and not isinstance(patterns, (list, tuple)):
            self._find(f"{name}: its urlpatterns are a {type(patterns).__name__}.")
        self._modules[name] = (module, found)

    def look_at_root(self, root: URLResolver) -> None:
        """Look at what ROOT_URLCONF gives if it is not simply a list in a module."""
        self._name = str(settings.ROOT_URLCONF)
        try:
            found = self._visit(root.url_patterns)
        except Exception as error:
            self._broken(error, {})
            return
        self.root_leads = found.leads
        if found.leads and found.target is not found.patterns and self._name not in self._modules:
            self._find(f"{self._name}: its urlpatterns are made when they are asked for.")

    def leading_modules(self) -> list[tuple[ModuleType, Collection[str]]]:
        """Return the urlconfs that lead to apphooks or ought to, and what each includes."""
        return [
            (module, found.modules)
            for name, (module, found) in self._modules.items()
            if found.leads and name != "cms.urls"
        ]

    def modules_of_root(self) -> Collection[str]:
        """Return the names of what ROOT_URLCONF includes, at any depth."""
        _, found = self._modules.get(settings.ROOT_URLCONF, (None, None))
        return found.modules if found else ()

    def all_lists(self) -> list[tuple[Any, bool]]:
        """Return all lists that were looked at, each with whether it leads to apphooks."""
        return [(found.patterns, found.leads) for found in self._lists.values()]

    def assign(self) -> None:
        """Put the slot into its places. Nothing here can fail, nor does anybody else's code run."""
        # Innermost first: a list is finished before what refers to it.
        if self._fill is not None:
            self._fill[0][:] = self._fill[1]
        for found in self._lists.values():
            if found.changes:
                found.assign()
        for module, found in self._modules.values():
            if found.leads and found.target is not found.patterns:
                module.__dict__["urlpatterns"] = found.target

    def _visit(self, patterns: Any) -> _List:
        """Look through a list and what is below it."""
        known = self._lists.get(id(patterns))
        if known is not None:
            return known  # a list that includes itself leads nowhere by that
        found = self._lists[id(patterns)] = _List(patterns)
        is_own = patterns is self._cms_list
        holders: list[Any] = []
        views: dict[str, bool] = {}
        for pattern in tuple(found.target):
            try:
                self._look_at_pattern(pattern, found, is_own, holders, views)
            except Exception as error:  # one element of one list: all others go on
                self._broken(error)
        # One of them alone is a project's own, say a home page that is cached.
        is_copy = not is_own and views.keys() >= _OF_A_COPY
        if any(views.values()) and (is_own or is_copy or holders):
            self._find_wrapped(f"{self._name}: {_WRAPPED}")
        if holders:
            found.leads = True
            self._replace(found, holders)
        elif is_copy:
            found.leads = True
            self._find(f"{self._name}: it has the patterns of cms.urls without its apphooks.")
        # Those of which the places were found last come last: what they refer to is finished.
        self._lists[id(patterns)] = self._lists.pop(id(patterns))
        return found

    def _look_at_pattern(
        self, pattern: Any, found: _List, is_own: bool, holders: list[Any], views: dict[str, bool]
    ) -> None:
        kind = urlforms.kind(type(pattern))
        if kind == "pattern":
            if pattern.name in urlforms.CMS_VIEWS:
                self._look_at_view(pattern, is_own, views)
        elif kind == "resolver":
            self._look_at_resolver(pattern, found, is_own)
        elif kind == "apphooks":
            holders.append(pattern)
            if urlforms.are_apphooks_wrapped(pattern, self._known_views):
                self._find_wrapped(f"{self._name}: {_WRAPPED}")
        else:
            self._look_at_other(pattern, found)

    def _look_at_view(self, pattern: URLPattern, is_own: bool, views: dict[str, bool]) -> None:
        is_wrapped = urlforms.wrapped_view(pattern, is_own=is_own)
        if is_wrapped is not None:  # else a view of the project's own
            name = cast("str", pattern.name)
            views[name] = views.get(name, False) or is_wrapped

    def _look_at_resolver(self, resolver: URLResolver, found: _List, is_own: bool) -> None:
        below = self._below(resolver)
        if below is None:
            return
        found.modules |= below.modules
        found.modules |= _module_names(resolver.urlconf_name)
        if is_own:
            if urlforms.is_inclusion_wrapped(resolver):
                self._find_wrapped(f"{self._name}: {_WRAPPED}")
        elif below.leads:
            found.leads = True
            if not urlforms.is_plain(resolver):
                self._find_wrapped(
                    f"{self._name}: the resolver of {str(resolver.pattern)!r} (a "
                    f"{type(resolver).__name__}) has ways of its own."
                )
            found.changes.append((resolver, self._copy(resolver, below.target)))

    def _look_at_other(self, pattern: Any, found: _List) -> None:
        """Look at what resolves like a resolver and is none."""
        patterns = getattr(pattern, "url_patterns", None)
        if patterns is None:
            return
        below = self._visit(patterns)
        found.modules |= below.modules
        if below.leads:
            found.leads = True
            self._find_wrapped(f"{self._name}: a {type(pattern).__name__} stands for cms.urls.")

    def _below(self, resolver: URLResolver) -> _List | None:
        """Return the list that a resolver resolves with; None if no request has come that far."""
        if not urlforms.computes(type(resolver)) and "url_patterns" not in vars(resolver):
            name = resolver.urlconf_name
            if isinstance(name, str) and name not in sys.modules:
                return None  # to be imported by the request that needs it, not by us
            if any(map(_is_being_imported, _module_names(name))):
                return None
        patterns = resolver.url_patterns
        found = self._visit(patterns)
        if found.leads and not isinstance(patterns, (list, tuple)):
            self._find_wrapped(f"{self._name}: it has a {type(patterns).__name__} of patterns.")
        return found

    def _copy(self, resolver: URLResolver, below: list[Pattern]) -> URLResolver:
        if id(resolver) not in self.copies:
            clone = without_memory(resolver, below)
            if type(clone) is URLResolver:
                clone.__class__ = Trunk
                vars(clone).setdefault("_settled", {})
            # The original is kept with its copy, so that its id is not given to another.
            self.copies[id(resolver)] = (resolver, clone)
        return self.copies[id(resolver)][1]

    def _replace(self, found: _List, holders: list[Any]) -> None:
        """Put the slot into a list, in place of all that is there for apphooks."""
        found.changes.append((holders[0], self._slot))
        # Not taken out: a reader that is in the middle of the list would miss what moves up.
        found.changes.extend((each, Slot([])) for each in holders[1:])

    @functools.cached_property
    def _views(self) -> set[Any]:
        return set(_view_keys(self._slot.patterns))

    def _known_views(self) -> set[Any]:
        return self._views

    def _find(self, text: str) -> None:
        self.findings[text] = None

    def _find_wrapped(self, text: str) -> None:
        self.wraps = True
        self._find(text)

    def _broken(self, error: Exception, namespace: dict[str, Any] | None = None) -> None:
        if namespace is None or not _is_initializing(namespace.get("__spec__")):
            self.broken[self._name] = f"{type(error).__name__}: {error}"


def _view_keys(patterns: Sequence[Any]) -> Iterator[Any]:
    for pattern in patterns:
        if isinstance(pattern, AppRegexURLResolver):
            for each in pattern.url_patterns_dict.values():
                yield from _view_keys(each)
        elif isinstance(pattern, URLResolver):
            yield from _view_keys(pattern.url_patterns)
        else:
            yield urlforms.view_key(pattern.callback)


def _module_names(urlconf: Any) -> set[str]:
    """Return the name of the module that a resolver includes, if it includes one."""
    if isinstance(urlconf, ModuleType):
        return {urlconf.__name__}
    return {urlconf} if isinstance(urlconf, str) else set()


def _is_being_imported(name: str) -> bool:
    module = sys.modules.get(name)
    return isinstance(module, ModuleType) and _is_initializing(vars(module).get("__spec__"))


def _is_initializing(spec: Any) -> bool:
    return bool(getattr(spec, "_initializing", False))


def _cms_urls() -> ModuleType:
    # Never imported from here at the top: before django CMS 5.1 that reads the database.
    from cms import urls

    return cast("ModuleType", urls)
