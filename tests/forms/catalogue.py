"""The forms in which urlconfs mount ``cms.urls``: the source of each module, and what is right.

``form_root`` is ROOT_URLCONF; ``form_other``, where there is one, is the urlconf of a request that
asks for it, and imported by that.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.support.versions import URLS_READ_DATABASE_AT_IMPORT

HEAD = """
import copy
from django.conf.urls.i18n import i18n_patterns
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.urls import URLPattern, URLResolver, include, path, re_path
from django.urls.resolvers import RegexPattern, RoutePattern
from tests.forms.tools import *
def ping(request):
    return HttpResponse("pong")
beside = path("beside/", ping, name="beside")
"""
CMS = "from cms import urls as cms_urls\n"


class Form(NamedTuple):
    """One way to mount ``cms.urls``."""

    modules: dict[str, str]
    #: Whether it is followed without a module being imported again.
    is_followed: bool = False
    #: What "/" of ROOT_URLCONF is for the paths of its site.
    mount: str = "/"
    #: Whether an anonymous visitor is sent to the login.
    has_login: bool = True


def plain(text: str, mount: str = "/", **modules: str) -> Form:
    return Form({"form_root": text, **modules}, True, mount, False)


def again(text: str, mount: str = "/", *, has_login: bool = True, **modules: str) -> Form:
    return Form({"form_root": text, **modules}, False, mount, has_login)


FORMS: dict[str, Form] = {
    # As it is.
    "include": plain('urlpatterns = [beside, path("", include("cms.urls"))]'),
    "include_below": plain('urlpatterns = [path("site/", include("cms.urls"))]', "/site/"),
    "include_re_path": plain('urlpatterns = [re_path(r"^", include("cms.urls"))]'),
    "include_module": plain(CMS + 'urlpatterns = [path("", include(cms_urls))]'),
    "include_tuple": plain('urlpatterns = (beside, path("", include("cms.urls")))'),
    "i18n": plain('urlpatterns = i18n_patterns(path("", include("cms.urls"))) + [beside]', "/en/"),
    "i18n_no_default": plain(
        'urlpatterns = i18n_patterns(path("", include("cms.urls")), prefix_default_language=False)'
    ),
    "cached_home": plain(
        "from django.views.decorators.cache import cache_page\n"
        "from cms.views import details\n"
        'home = path("", cache_page(60)(details), {"slug": ""}, name="pages-root")\n'
        'urlpatterns = [home, path("", include("cms.urls"))]'
    ),
    "nested": plain(
        'urlpatterns = [beside, path("", include("form_inner"))]',
        form_inner='urlpatterns = [path("in/", include("form_inmost"))]',
        form_inmost='urlpatterns = [path("", include("cms.urls"))]',
        mount="/in/",
    ),
    "string_without_include": plain(
        'urlpatterns = [URLResolver(RoutePattern(""), "cms.urls")]',
    ),
    "twice": plain(
        'urlpatterns = [path("a/", include("cms.urls")), path("", include("cms.urls"))]'
    ),
    "own_home": plain(
        'urlpatterns = [path("", ping, name="pages-root"), path("", include("cms.urls"))]'
    ),
    "appended_at_import": plain(
        'urlpatterns = [beside]\nurlpatterns += [path("", include("cms.urls"))]'
    ),
    "resolver_with_resolve": Form(
        {"form_root": CMS + 'urlpatterns = [ResolveWithLogin(RoutePattern(""), cms_urls)]'},
        is_followed=True,
    ),
    # Copied, spread or held in a list of its own.
    "itself": plain("from cms.urls import urlpatterns"),
    "spread": plain("from cms.urls import urlpatterns as p\nurlpatterns = [beside, *p]"),
    "list_copy": plain("from cms.urls import urlpatterns as p\nurlpatterns = list(p)"),
    "copy_copy": plain("from cms.urls import urlpatterns as p\nurlpatterns = copy.copy(p)"),
    "copies": plain(
        "from cms.urls import urlpatterns as p\nurlpatterns = [copy.copy(each) for each in p]"
    ),
    "tuple_copy": plain("from cms.urls import urlpatterns as p\nurlpatterns = (*p, beside)"),
    "include_list": plain(
        'from cms.urls import urlpatterns as p\nurlpatterns = [path("", include(list(p)))]'
    ),
    "include_list_app": plain(
        "from cms.urls import urlpatterns as p\n"
        'urlpatterns = [path("", include("cms.urls")), path("x/", include(([*p], "app")))]'
    ),
    "i18n_spread": plain(
        "from cms.urls import urlpatterns as p\nurlpatterns = i18n_patterns(*p)", "/en/"
    ),
    "filtered": plain(
        "from cms.urls import urlpatterns as p\n"
        'urlpatterns = [each for each in p if getattr(each, "name", "") != "cms_login"]'
    ),
    "nested_spread": plain(
        'urlpatterns = [path("in/", include("form_inner"))]',
        "/in/",
        form_inner="from cms.urls import urlpatterns as p\nurlpatterns = [*p]",
    ),
    "sequence": again('urlpatterns = Patterns(path("", include("cms.urls")))', has_login=False),
    "rebuilt": again(
        CMS + "urlpatterns = rebuilt(cms_urls.urlpatterns, lambda view: view)", has_login=False
    ),
    "rebuilt_login": again(CMS + "urlpatterns = rebuilt(cms_urls.urlpatterns, login_required)"),
    "rebuilt_beside": again(
        CMS + "urlpatterns = [*rebuilt(cms_urls.urlpatterns, login_required), "
        'path("open/", include("cms.urls"))]'
    ),
    "rebuilt_namespace": again(
        CMS + 'urlpatterns = [path("", include("cms.urls")), path("x/", include(('
        'rebuilt(cms_urls.urlpatterns, login_required), "app")))]',
        has_login=False,
    ),
    # Wrapped in place.
    "decorated": again(
        'urlpatterns = decorate_urlpatterns([path("", include("cms.urls"))], login_required)'
    ),
    "decorated_tuple": again(
        'urlpatterns = (beside, *decorate_urlpatterns((path("", include("cms.urls")),), '
        "login_required))"
    ),
    "decorated_i18n": again(
        'urlpatterns = decorate_urlpatterns(i18n_patterns(path("", include("cms.urls"))), '
        "login_required)",
        "/en/",
    ),
    "decorated_list": again(
        CMS + "decorate_urlpatterns(cms_urls.urlpatterns, login_required)\n"
        'urlpatterns = [path("", include("cms.urls"))]'
    ),
    "decorated_spread": again(
        "from cms.urls import urlpatterns as p\n"
        "urlpatterns = decorate_urlpatterns([*p], login_required)"
    ),
    "decorated_loop": again(
        CMS + "for each in cms_urls.urlpatterns:\n"
        "    if isinstance(each, URLPattern):\n"
        "        each.callback = login_required(each.callback)\n"
        "    else:\n"
        "        decorate_urlpatterns(each.url_patterns, login_required)\n"
        'urlpatterns = [path("", include("cms.urls"))]'
    ),
    "decorated_apphooks_only": again(
        CMS + "for each in cms_urls.urlpatterns:\n"
        "    if isinstance(each, URLResolver):\n"
        "        decorate_urlpatterns(each.url_patterns, login_required)\n"
        'urlpatterns = [path("", include("cms.urls"))]'
    ),
    "decorated_class": again(
        CMS + "def wrap(view):\n    return ClassBased(view)\n"
        "decorate_urlpatterns(cms_urls.urlpatterns, wrap)\n"
        'urlpatterns = [path("", include("cms.urls"))]'
    ),
    "decorated_nested": again(
        'urlpatterns = [path("in/", include("form_inner"))]',
        "/in/",
        form_inner=HEAD
        + 'urlpatterns = decorate_urlpatterns([path("", include("cms.urls"))], login_required)',
    ),
    "decorated_around_nested": again(
        'urlpatterns = decorate_urlpatterns([path("in/", include("form_inner"))], login_required)',
        "/in/",
        form_inner=HEAD + 'urlpatterns = [path("", include("cms.urls"))]',
    ),
    "decorator_include": again(
        'urlpatterns = [path("", decorator_include(login_required, "cms.urls"))]'
    ),
    "required": again('urlpatterns = required(login_required, [path("", include("cms.urls"))])'),
    "required_list": again(
        CMS + "required(login_required, cms_urls.urlpatterns)\n"
        'urlpatterns = [path("", include("cms.urls"))]'
    ),
    "required_spread": again(
        "from cms.urls import urlpatterns as p\nurlpatterns = required(login_required, p)"
    ),
    # Classes of somebody's.
    "keeps_decorated": again(
        CMS + 'urlpatterns = [KeepsDecorated(RoutePattern(""), cms_urls)]',
    ),
    "made_at_start": again(CMS + 'urlpatterns = [MadeAtStart(RoutePattern(""), cms_urls)]'),
    "guard": again('urlpatterns = [Guard(path("", include("cms.urls")))]'),
    "guarded_patterns": again(
        CMS + "urlpatterns = [GuardedPattern(p.pattern, p.callback, p.default_args, p.name) "
        "if isinstance(p, URLPattern) else p for p in cms_urls.urlpatterns]",
        has_login=False,
    ),
    # Several urlconfs: what wraps in place wraps for all of them, in any fresh process as well.
    "other_decorated_copy": Form(
        {
            "form_root": 'urlpatterns = [path("", include("cms.urls"))]',
            "form_other": CMS + "urlpatterns = rebuilt(cms_urls.urlpatterns, login_required)",
        },
        has_login=False,
    ),
    "other_plain": again(
        CMS + "urlpatterns = rebuilt(cms_urls.urlpatterns, login_required)",
        form_other='urlpatterns = [path("", include("cms.urls"))]',
    ),
    "other_decorated_later": Form(
        {
            "form_root": 'urlpatterns = [path("", include("cms.urls"))]',
            "form_other": "urlpatterns = decorate_urlpatterns([path('', include('cms.urls'))], "
            "login_required)",
        },
    ),
    "other_followed": Form(
        {
            "form_root": 'urlpatterns = [path("", include("cms.urls"))]',
            "form_other": 'urlpatterns = [path("", include("cms.urls"))]',
        },
        is_followed=True,
        has_login=False,
    ),
}
#: Forms that only django CMS 5.1 has: its lazy resolver stands for all apphooks.
_LOGIN_LAZY = (
    CMS
    + """
class LoginLazy(cms_urls.LazyURLResolver):
    def resolve(self, path):
        match = super().resolve(path)
        match.func = login_required(match.func)
        return match
"""
)
LAZY_FORMS: dict[str, Form] = {
    # What shows on apphooks only, in a process that may have begun without any.
    "lazy_only": again(
        CMS
        + "decorate_urlpatterns(cms_urls.urlpatterns[0].url_patterns, login_required)\n"
        + 'urlpatterns = [path("", include("cms.urls"))]'
    ),
    "own_app_patterns": again(
        "from cms.appresolver import get_app_patterns\n"
        "urlpatterns = [*decorate_urlpatterns(get_app_patterns(), login_required), "
        'path("", include("cms.urls"))]'
    ),
    "lazy_subclass": again(
        _LOGIN_LAZY
        + "cms_urls.urlpatterns[0].__class__ = LoginLazy\n"
        + 'urlpatterns = [path("", include("cms.urls"))]'
    ),
    "lazy_subclass_made": again(
        _LOGIN_LAZY
        + 'urlpatterns = [LoginLazy(RegexPattern(r""), "app_resolver", '
        + "get_urlpatterns=cms_urls._get_apphook_urlpatterns), *cms_urls.urlpatterns[1:]]"
    ),
    "lazy_moved": again(
        CMS
        + 'cms_urls.urlpatterns[0].pattern = RoutePattern("")\n'
        + "cms_urls.urlpatterns[0].default_kwargs = {}\n"
        + 'urlpatterns = [path("", include("cms.urls"))]',
        has_login=False,
    ),
}
if not URLS_READ_DATABASE_AT_IMPORT:
    FORMS |= LAZY_FORMS
#: What each is imported with.
SOURCES = {
    name: {
        module: f"{'' if text.startswith(HEAD) else HEAD}{text}\n"
        for module, text in form.modules.items()
    }
    for name, form in FORMS.items()
}
