"""What people have in their projects to put a decorator around whole urlconfs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, include
from django.utils.functional import cached_property

#: How often the view of decorated() was wrapped, in the answer of a request.
DEPTH = "X-Depth"


def decorate_urlpatterns(urlpatterns: Any, decorator: Any) -> Any:
    """As Wagtail has it: the views of all patterns, where they are."""
    for pattern in urlpatterns:
        if hasattr(pattern, "url_patterns"):
            decorate_urlpatterns(pattern.url_patterns, decorator)
        if getattr(pattern, "callback", None):
            pattern.callback = functools.update_wrapper(
                decorator(pattern.callback), pattern.callback
            )
    return urlpatterns


def required(wrapping_functions: Any, patterns: Any) -> list[Any]:
    """As the snippet has it: what resolve() returns, of each instance."""
    if not hasattr(wrapping_functions, "__iter__"):
        wrapping_functions = (wrapping_functions,)
    return [_wrap_resolve(wrapping_functions, instance) for instance in patterns]


def _wrap_resolve(wrapping_functions: Any, instance: Any) -> Any:
    resolve = instance.resolve

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = resolve(*args, **kwargs)
        if not hasattr(result, "func"):
            return result
        for function in reversed(wrapping_functions):
            result.func = function(result.func)
        return result

    instance.resolve = wrapped
    return instance


def counted(view: Any) -> Any:
    """Says in the answer how often it was put around the view."""

    @functools.wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = view(request, *args, **kwargs)
        response[DEPTH] = str(int(response.get(DEPTH, "0")) + 1)
        return response

    return wrapper


def rebuilt(patterns: Any, decorator: Any) -> list[Any]:
    """New patterns, with other views, of the old ones."""
    new: list[Any] = []
    for pattern in patterns:
        if isinstance(pattern, URLPattern):
            view = decorator(pattern.callback)
            new.append(URLPattern(pattern.pattern, view, pattern.default_args, pattern.name))
        else:
            below = rebuilt(pattern.url_patterns, decorator)
            new.append(
                URLResolver(
                    pattern.pattern,
                    below,
                    pattern.default_kwargs,
                    pattern.app_name,
                    pattern.namespace,
                )
            )
    return new


class DecoratedPatterns:
    """As django-decorator-include has it."""

    def __init__(self, urlconf: Any, decorator: Any) -> None:
        self.urlconf = urlconf
        self.decorator = decorator

    @cached_property
    def urlpatterns(self) -> list[Any]:
        patterns = getattr(self.urlconf, "urlpatterns", self.urlconf)
        return [self._decorate(pattern) for pattern in patterns]

    def _decorate(self, pattern: Any) -> Any:
        if isinstance(pattern, URLResolver):
            below: Any = DecoratedPatterns(pattern.urlconf_module, self.decorator)
            return URLResolver(
                pattern.pattern,
                below,
                pattern.default_kwargs,
                pattern.app_name,
                pattern.namespace,
            )
        view = self.decorator(pattern.callback)
        return URLPattern(pattern.pattern, view, pattern.default_args, pattern.name)


def decorator_include(decorator: Any, urlconf: Any) -> Any:
    module, app_name, namespace = include(urlconf)
    return DecoratedPatterns(module, decorator), app_name, namespace


class ResolveWithLogin(URLResolver):
    """Wraps what it resolves to; keeps nothing."""

    def resolve(self, path: Any) -> Any:
        match = super().resolve(path)
        match.func = login_required(match.func)
        return match


class KeepsDecorated(URLResolver):
    """Keeps what it made of the patterns below, once."""

    @cached_property
    def url_patterns(self) -> list[Any]:
        module: Any = self.urlconf_module
        return rebuilt(module.urlpatterns, login_required)


class MadeAtStart(URLResolver):
    """Made of the patterns when the module is imported."""

    def __init__(self, pattern: Any, urlconf: Any) -> None:
        super().__init__(pattern, "unused")
        self._made = rebuilt(urlconf.urlpatterns, login_required)

    @property
    def url_patterns(self) -> list[Any]:
        return self._made


class Guard:
    """Stands for a resolver, and is none."""

    def __init__(self, inner: URLResolver) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def resolve(self, path: Any) -> Any:
        match = self._inner.resolve(path)
        match.func = login_required(match.func)
        return match


class GuardedPattern(URLPattern):
    """A pattern of another class, with the views as they are."""

    def resolve(self, path: Any) -> Any:
        match = super().resolve(path)
        if match:
            match.func = login_required(match.func)
        return match


class ClassBased:
    """A view wrapped in an object."""

    def __init__(self, view: Callable[..., Any]) -> None:
        self.view = login_required(view)

    def __call__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return self.view(request, *args, **kwargs)


class Patterns(Sequence[Any]):
    """Patterns that are no list."""

    def __init__(self, *patterns: Any) -> None:
        self._patterns = patterns

    def __getitem__(self, index: Any) -> Any:
        return self._patterns[index]

    def __len__(self) -> int:
        return len(self._patterns)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._patterns)
