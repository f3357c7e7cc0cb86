"""Every way in which apphook URLs change in the database, each as the real operation.

Each way has pages of its own, so that all of them run on one site, in any order. A path, a
namespace and a statement may contain ``{w}``, the id of the way, which is also the slug of its
page. Only URLs below a page are asked for: django CMS answers the page itself, and hands it to
its apphook, even where no apphook is routed.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.support.postgres import embedded_bin_dir
from tests.support.versions import CMS, not_before_cms

if TYPE_CHECKING:
    from tests.demo.editor import Editor
    from tests.e2e.stage import Scene

Act = Callable[["Scene"], object]

POSTGRESQL, SQLITE, MARIADB = "postgresql", "sqlite", "mariadb"
DATABASES = (POSTGRESQL, SQLITE, MARIADB)

# Until django CMS 4.1 a page has a node, whose row has its place in the tree and its site; since
# 5.1, a row of a URL has the site as well.
_NODE = ".node" if CMS < (5, 0) else ""
_URL_COLUMNS = "managed, page_id, site_id" if CMS >= (5, 1) else "managed, page_id"

OLD = "/en/{w}/hello/"
NEW = "/en/{w}-new/hello/"
NESTED = "/en/{w}/app/hello/"
NESTED_NEW = "/en/{w}-new/app/hello/"


@dataclass(frozen=True)
class NewPage:
    """A page that a way finds. In German its slug ends in ``-de``."""

    key: str = "app"
    slug: str = "{w}"
    apphook: str | None = "AlphaApphook"
    parent: str | None = None
    languages: tuple[str, ...] = ("en",)
    overwrite_url: str | None = None
    site: int = 1
    #: What its URL is bent to afterwards, past everything: a broken row.
    broken_path: str | None = None


APP = NewPage()
PLAIN = NewPage(apphook=None)
PARENT = NewPage("parent", apphook=None)
CHILD = NewPage("app", "app", parent="parent")
TARGET = NewPage("target", "{w}-new", apphook=None)
# Both answer NESTED_PATH: the second one's resolver comes first, as later siblings' do.
FIRST = NewPage("first", "app", parent="parent")
SECOND = NewPage("second", "second", "BetaApphook", parent="parent", overwrite_url="{w}/app/hello")


@dataclass(frozen=True)
class Way:
    """``routed`` URLs are 404 before and 200 after, ``gone`` ones the other way round; ``shows``
    are texts that a path shows only afterwards. A way that has none of these changes no routing,
    and nothing may be rebuilt for it.

    ``impossible`` says why there is no such thing: by database, or under ``*`` for this version
    of django CMS.
    """

    id: str
    title: str
    act: Act
    routed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    shows: Mapping[str, str] = field(default_factory=dict)
    pages: tuple[NewPage, ...] = (APP,)
    impossible: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_quiet(self) -> bool:
        return not (self.routed or self.gone or self.shows)

    def why_not(self, database: str) -> str | None:
        """Why this way cannot be gone on a database, if so."""
        return self.impossible.get("*") or self.impossible.get(database)


# How it is done


def admin(work: Callable[[Editor, Scene], object]) -> Act:
    """In the admin, through its forms."""
    return lambda scene: work(scene.editor, scene)


def shell(code: str) -> Act:
    """In a shell that stays open; the pages' ids are there by their keys, and ``w``."""
    return lambda scene: scene.shell(code)


def manage(*arguments: str) -> Act:
    """In a command, whose process ends with it."""
    return lambda scene: scene.manage(*arguments)


def move_page(key: str) -> Act:
    """Below the target. django CMS 5.1 wants a transaction."""
    return shell(
        f"with transaction.atomic():\n"
        f"    Page.objects.get(pk={key}).move_page(Page.objects.get(pk=target){_NODE})"
    )


def change_site(site: int) -> Act:
    """With nothing but UPDATEs: nobody is signalled."""
    of_url = f"PageUrl.objects.filter(page=app).update(site={site})" if CMS >= (5, 1) else "pass"
    return shell(
        f"with transaction.atomic():\n"
        f"    row = Page.objects.get(pk=app){_NODE}\n"
        f"    type(row).objects.filter(pk=row.pk).update(site={site})\n"
        f"    {of_url}"
    )


def one_off(code: str) -> Act:
    """In a shell that ends at once."""

    def act(scene: Scene) -> None:
        names = "\n".join(f"{name} = {value!r}" for name, value in scene.names.items())
        scene.manage("shell", "-c", f"from cms.models import Page, PageUrl\n{names}\n{code}")

    return act


def sql(statement: str) -> Act:
    """In somebody's database client."""
    return lambda scene: scene.sql(statement)


def loaddata(queryset: str, before: str, after: str) -> Act:
    """A fixture of the rows of a queryset, changed, loaded by the command."""

    def act(scene: Scene) -> None:
        code = f"result = serializers.serialize('json', {queryset})"
        fixture = scene.run_dir / f"{scene.way.id}.json"
        dumped: str = scene.shell(code)
        changed = dumped.replace(scene.fill(before), scene.fill(after))
        assert changed != dumped
        fixture.write_text(changed)
        scene.manage("loaddata", str(fixture))

    return act


def psql(statement: str) -> Act:
    """In PostgreSQL's own client."""

    def act(scene: Scene) -> None:
        client = shutil.which("psql") or str(embedded_bin_dir() / "psql")
        command = [client, "--no-psqlrc", "--quiet", "--command", scene.fill(statement)]
        subprocess.run(
            [*command, scene.stage.database_url], check=True, capture_output=True, timeout=30
        )

    return act


def copy_language(scene: Scene) -> None:
    """All pages that are German only: those of this way."""
    languages = ("--from-lang", "de", "--to-lang", "en")
    scene.manage("cms", "copy", "lang", *languages, "--username", "admin")


def reorder_by_sql(scene: Scene) -> None:
    """Behind all siblings that there are."""
    place = "substr(path, 1, length(path) - 1)"
    last = f"concat({place}, 'Z')" if scene.stage.kind == MARIADB else f"{place} || 'Z'"
    first = "{first}"
    table, row = "cms_page", first
    if _NODE:
        table, row = "cms_treenode", f"(SELECT node_id FROM cms_page WHERE id = {first})"
    scene.sql(f"UPDATE {table} SET path = {last} WHERE id = {row}")


def switch_namespace(editor: Editor, scene: Scene) -> None:
    editor.attach_apphook(scene.page("app"), "AlphaApphook", scene.fill("{w}-switched"))


_POSTGRESQL_ONLY = {
    SQLITE: "psql is PostgreSQL's client",
    MARIADB: "psql is PostgreSQL's client",
}
_NAMESPACE = {"/controls/reverse/?name={w}-switched:hello": json.dumps("/en/{w}/hello/")}
_RESOLVER = {NESTED: "alpha"}

_ADMIN = [
    Way(
        "admin-attach",
        "admin, advanced settings: apphook attached",
        admin(lambda e, s: e.attach_apphook(s.page("app"), "AlphaApphook", s.fill("{w}"))),
        routed=(OLD,),
        pages=(PLAIN,),
    ),
    Way(
        "admin-exchange",
        "admin, advanced settings: another apphook",
        admin(lambda e, s: e.attach_apphook(s.page("app"), "BetaApphook", s.fill("{w}"))),
        routed=("/en/{w}/bye/",),
        gone=(OLD,),
    ),
    Way(
        "admin-detach",
        "admin, advanced settings: apphook detached",
        admin(lambda e, s: e.detach_apphook(s.page("app"))),
        gone=(OLD,),
    ),
    Way(
        "admin-namespace",
        "admin, advanced settings: namespace",
        admin(switch_namespace),
        shows=_NAMESPACE,
    ),
    Way(
        "admin-slug",
        "admin: slug of the apphook's own page",
        admin(lambda e, s: e.change_slug(s.page("app"), "en", s.fill("{w}-new"))),
        routed=(NEW,),
        gone=(OLD,),
    ),
    Way(
        "admin-overwrite-set",
        "admin: overwrite_url set",
        admin(lambda e, s: e.set_overwrite_url(s.page("app"), "en", s.fill("{w}-new"))),
        routed=(NEW,),
        gone=(OLD,),
    ),
    Way(
        "admin-overwrite-cleared",
        "admin: overwrite_url cleared",
        admin(lambda e, s: e.set_overwrite_url(s.page("app"), "en", "")),
        routed=(OLD,),
        gone=(NEW,),
        pages=(NewPage(overwrite_url="{w}-new"),),
    ),
    Way(
        "admin-ancestor-slug",
        "admin: slug of an ancestor",
        admin(lambda e, s: e.change_slug(s.page("parent"), "en", s.fill("{w}-new"))),
        routed=(NESTED_NEW,),
        gone=(NESTED,),
        pages=(PARENT, CHILD),
    ),
    Way(
        "admin-ancestor-overwrite",
        "admin: overwrite_url of an ancestor",
        admin(lambda e, s: e.set_overwrite_url(s.page("parent"), "en", s.fill("{w}-new"))),
        routed=(NESTED_NEW,),
        gone=(NESTED,),
        pages=(PARENT, CHILD),
    ),
    Way(
        "admin-move",
        "admin: move the page",
        admin(lambda e, s: e.move_page(s.page("app"), s.page("target"))),
        routed=("/en/{w}-new/{w}/hello/",),
        gone=(OLD,),
        pages=(APP, TARGET),
    ),
    Way(
        "admin-move-ancestor",
        "admin: move an ancestor",
        admin(lambda e, s: e.move_page(s.page("parent"), s.page("target"))),
        routed=("/en/{w}-new/{w}/app/hello/",),
        gone=(NESTED,),
        pages=(PARENT, CHILD, TARGET),
    ),
    Way(
        "admin-reorder",
        "admin: sibling reorder (same URLs, other resolver order)",
        admin(lambda e, s: e.move_page(s.page("first"), s.page("parent"), position=1)),
        shows=_RESOLVER,
        pages=(PARENT, FIRST, SECOND),
    ),
    Way(
        "admin-delete",
        "admin: delete the page",
        admin(lambda e, s: e.delete_page(s.page("app"))),
        gone=(OLD,),
    ),
    Way(
        "admin-delete-ancestor",
        "admin: delete an ancestor",
        admin(lambda e, s: e.delete_page(s.page("parent"))),
        gone=(NESTED,),
        pages=(PARENT, CHILD),
    ),
    Way(
        "admin-add-language",
        "admin: add a language",
        admin(lambda e, s: e.add_language(s.page("app"), "de", "Wort", s.fill("{w}-de"))),
        routed=("/de/{w}-de/hello/",),
    ),
    Way(
        "admin-delete-language",
        "admin: delete a language",
        admin(lambda e, s: e.delete_language(s.page("app"), "de")),
        gone=("/de/{w}-de/hello/",),
        pages=(NewPage(languages=("en", "de")),),
    ),
    Way(
        "admin-home",
        "admin: set as home",
        admin(lambda e, s: e.set_home(s.page("app"))),
        routed=("/en/hello/",),
        gone=(OLD,),
    ),
]

_ATTACH = "application_urls='AlphaApphook', application_namespace=w"

_CODE = [
    Way(
        "code-home",
        "set_as_homepage()",
        shell("with transaction.atomic(): Page.objects.get(pk=app).set_as_homepage()"),
        routed=("/en/bye/",),
        gone=("/en/{w}/bye/",),
        pages=(NewPage(apphook="BetaApphook"),),
    ),
    Way(
        "code-move",
        "Page.move_page()",
        move_page("app"),
        routed=("/en/{w}-new/{w}/hello/",),
        gone=(OLD,),
        pages=(APP, TARGET),
    ),
    Way(
        "code-move-ancestor",
        "Page.move_page() of an ancestor",
        move_page("parent"),
        routed=("/en/{w}-new/{w}/app/hello/",),
        gone=(NESTED,),
        pages=(PARENT, CHILD, TARGET),
    ),
    Way(
        "code-reorder",
        "treebeard's move(): sibling reorder (same URLs, other resolver order)",
        shell(
            f"first, second = (Page.objects.get(pk=pk){_NODE} for pk in (first, second));"
            " first.move(second, 'right')"
        ),
        shows=_RESOLVER,
        pages=(PARENT, FIRST, SECOND),
    ),
    Way(
        "page-delete",
        "page.delete()",
        shell("Page.objects.get(pk=app).delete()"),
        gone=(OLD,),
    ),
    Way(
        "page-delete-ancestor",
        "page.delete() of an ancestor",
        shell("Page.objects.get(pk=parent).delete()"),
        gone=(NESTED,),
        pages=(PARENT, CHILD),
    ),
    Way(
        "page-queryset-delete",
        "Page queryset.delete()",
        shell("Page.objects.filter(pk=app).delete()"),
        gone=(OLD,),
    ),
    Way(
        "create-page",
        "cms.api.create_page(apphook=...)",
        shell(
            "create_page('Word', 'demo/page.html', 'en', slug=w, apphook='AlphaApphook',"
            " apphook_namespace=w)"
        ),
        routed=(OLD,),
        pages=(),
    ),
    Way(
        "create-content",
        "cms.api.create_page_content()",
        shell("create_page_content('de', 'Wort', Page.objects.get(pk=app), slug=f'{w}-de')"),
        routed=("/de/{w}-de/hello/",),
    ),
    Way(
        "page-save",
        "page.save()",
        shell(
            "page = Page.objects.get(pk=app); page.application_urls = 'AlphaApphook';"
            " page.application_namespace = w; page.save()"
        ),
        routed=(OLD,),
        pages=(PLAIN,),
    ),
    Way(
        "page-save-namespace",
        "page.save(), namespace only",
        shell(
            "page = Page.objects.get(pk=app); page.application_namespace = f'{w}-switched';"
            " page.save()"
        ),
        shows=_NAMESPACE,
    ),
    Way(
        "page-save-shell",
        "page.save() in a shell that ends at once",
        one_off("page = Page.objects.get(pk=app); page.application_urls = None; page.save()"),
        gone=(OLD,),
    ),
    Way(
        "page-update",
        "Page.update()",
        shell(f"Page.objects.get(pk=app).update({_ATTACH})"),
        routed=(OLD,),
        pages=(PLAIN,),
    ),
    Way(
        "page-queryset-update",
        "Page queryset.update()",
        shell(f"Page.objects.filter(pk=app).update({_ATTACH})"),
        routed=(OLD,),
        pages=(PLAIN,),
    ),
    Way(
        "page-bulk-update",
        "Page bulk_update()",
        shell(
            "page = Page.objects.get(pk=app); page.application_urls = None;"
            " Page.objects.bulk_update([page], ['application_urls'])"
        ),
        gone=(OLD,),
    ),
    Way(
        "page-loaddata",
        "loaddata of a page",
        loaddata(
            "Page.objects.filter(pk=app)",
            '"application_urls": null, "application_namespace": null',
            '"application_urls": "AlphaApphook", "application_namespace": "{w}"',
        ),
        routed=(OLD,),
        pages=(PLAIN,),
    ),
    Way(
        "url-save",
        "PageUrl.save()",
        shell("url = PageUrl.objects.get(page=app); url.path = f'{w}-new'; url.save()"),
        routed=(NEW,),
        gone=(OLD,),
    ),
    Way(
        "url-update",
        "PageUrl queryset.update()",
        shell("PageUrl.objects.filter(page=app).update(path=f'{w}-new')"),
        routed=(NEW,),
        gone=(OLD,),
    ),
    Way(
        "url-bulk-update",
        "PageUrl bulk_update()",
        shell(
            "url = PageUrl.objects.get(page=app); url.path = f'{w}-new';"
            " PageUrl.objects.bulk_update([url], ['path'])"
        ),
        routed=(NEW,),
        gone=(OLD,),
    ),
    Way(
        "update-urls",
        "page.update_urls()",
        shell("Page.objects.get(pk=app).update_urls('en', path=f'{w}-new')"),
        routed=(NEW,),
        gone=(OLD,),
    ),
    Way(
        "url-delete",
        "PageUrl.delete()",
        shell("PageUrl.objects.get(page=app).delete()"),
        gone=(OLD,),
    ),
    Way(
        "url-loaddata",
        "loaddata of a URL",
        loaddata("PageUrl.objects.filter(page=app)", '"path": "{w}"', '"path": "{w}-new"'),
        routed=(NEW,),
        gone=(OLD,),
    ),
    Way(
        "site-left",
        "site change: to another site",
        change_site(2),
        gone=(OLD,),
    ),
    Way(
        "site-entered",
        "site change: from another site",
        change_site(1),
        routed=(OLD,),
        pages=(NewPage(site=2),),
    ),
]

_COMMANDS = [
    Way(
        "copy-lang",
        "cms copy lang",
        copy_language,
        routed=("/en/{w}-de/hello/",),
        pages=(NewPage(languages=("de",)),),
    ),
    Way(
        "fix-tree",
        "cms fix-tree",
        manage("cms", "fix-tree"),
        routed=(OLD,),
        gone=("/en/{w}-broken/hello/",),
        pages=(NewPage(broken_path="{w}-broken"),),
        impossible=not_before_cms((5, 0), "it mends the tree, and no URL"),
    ),
    Way(
        "uninstall-apphooks",
        "cms uninstall apphooks",
        manage("cms", "uninstall", "apphooks", "SpareApphook", "--noinput"),
        gone=(OLD,),
        pages=(NewPage(apphook="SpareApphook"),),
    ),
]

_SQL = [
    Way(
        "sql-update-url",
        "raw SQL: UPDATE of a URL",
        sql("UPDATE cms_pageurl SET path = '{w}-new' WHERE page_id = {app}"),
        routed=(NEW,),
        gone=(OLD,),
    ),
    Way(
        "sql-delete-url",
        "raw SQL: DELETE of a URL",
        sql("DELETE FROM cms_pageurl WHERE page_id = {app}"),
        gone=(OLD,),
    ),
    Way(
        "sql-insert-url",
        "raw SQL: INSERT of a URL",
        sql(
            f"INSERT INTO cms_pageurl (language, path, slug, {_URL_COLUMNS})"
            f" SELECT 'de', '{{w}}-de', '{{w}}-de', {_URL_COLUMNS}"
            " FROM cms_pageurl WHERE page_id = {app}"
        ),
        routed=("/de/{w}-de/hello/",),
    ),
    Way(
        "sql-update-page",
        "raw SQL: UPDATE of a page",
        sql("UPDATE cms_page SET application_urls = NULL WHERE id = {app}"),
        gone=(OLD,),
    ),
    Way(
        "sql-reorder",
        "raw SQL: UPDATE of the tree (same URLs, other resolver order)",
        reorder_by_sql,
        shows=_RESOLVER,
        pages=(PARENT, FIRST, SECOND),
    ),
    Way(
        "psql",
        "psql",
        psql("UPDATE cms_pageurl SET path = '{w}-new' WHERE page_id = {app}"),
        routed=(NEW,),
        gone=(OLD,),
        impossible=_POSTGRESQL_ONLY,
    ),
    Way(
        "restore",
        "a restore of the URLs' table",
        lambda scene: scene.restore("cms_pageurl", "path", "{w}", "{w}-new"),
        routed=(NEW,),
        gone=(OLD,),
    ),
]

# These change no routing.
_QUIET = [
    Way(
        "quiet-admin-plain-slug",
        "admin: slug of a plain page",
        admin(lambda e, s: e.change_slug(s.page("app"), "en", s.fill("{w}-new"))),
        pages=(PLAIN,),
    ),
    Way(
        "quiet-admin-plain-page",
        "admin: a new plain page",
        admin(lambda e, s: e.create_page("Word", s.way.id)),
        pages=(),
    ),
    Way(
        "quiet-admin-title",
        "admin: title of a page with an apphook",
        admin(lambda e, s: e.change_title(s.page("app"), "en", "Another title")),
    ),
    Way(
        "quiet-move",
        "Page.move_page() of a plain page",
        move_page("app"),
        pages=(PLAIN, TARGET),
    ),
    Way(
        "quiet-reverse-id",
        "page.save() of what routes nothing",
        shell("page = Page.objects.get(pk=app); page.reverse_id = w; page.save()"),
    ),
    Way(
        "quiet-signal",
        "urls_need_reloading, and nothing changed",
        shell("from cms.signals import urls_need_reloading; urls_need_reloading.send(sender=None)"),
    ),
]

WAYS = [*_ADMIN, *_CODE, *_COMMANDS, *_SQL, *_QUIET]


def possible(database: str) -> list[Way]:
    """The ways that can be gone on a database."""
    return [way for way in WAYS if way.why_not(database) is None]


def impossible(database: str) -> dict[str, str]:
    """The titles of the others, and why."""
    reasons: dict[str, Any] = {way.title: way.why_not(database) for way in WAYS}
    return {title: reason for title, reason in reasons.items() if reason}
