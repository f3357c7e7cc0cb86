"""Tells this process and all others that a transaction changed routing, once it is committed.

It sees what Django's signals see: each save and delete of a page or of its URLs, each save of a
content that gives a page and all below it other URLs, each save and delete of a row of
``CONFIG_MODELS``, and ``urls_need_reloading``. What passes the signals by (``queryset.update()``,
moves in the tree, SQL) is announced by the triggers of ``cms_urlreload_pg``, or else found by the
heartbeat or the poll.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Iterable
from typing import Any

from cms.models import Page, PageContent, PageType, PageUrl
from cms.models.apphooks_reload import UrlconfRevision
from cms.signals import urls_need_reloading
from django.apps import apps
from django.db import router, transaction
from django.db.models import Model, QuerySet
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_delete, pre_save

from .apphooks import ROUTING_COLUMNS, TREE_MODEL, TREE_PATH
from .process import get_transport, reloader, state
from .state import Reason
from .token import config_models, tables_of

logger = logging.getLogger(__name__)

_UID = "cms_urlreload.commit_hook"
_CHANGED = "_cms_urlreload_changed"


def _own_fields(model: type[Model], names: Iterable[str]) -> tuple[str, ...]:
    attributes = {field.attname for field in model._meta.concrete_fields}
    return tuple(name for name in names if name in attributes)


_PAGE_FIELDS = _own_fields(
    Page, (name.removeprefix("page__") for name in (*ROUTING_COLUMNS, TREE_PATH))
)
_URL_FIELDS = _own_fields(PageUrl, ROUTING_COLUMNS)
# Since django CMS 5.1 a content says what the URLs of its page are to be, and the rows of those
# follow by queryset.update(), later in the transaction.
_CONTENT_FIELDS = _own_fields(PageContent, ("slug", "overwrite_url"))
_FIELDS = {
    Page: _PAGE_FIELDS,
    PageType: _PAGE_FIELDS,  # a signal of a proxy model has the proxy as its sender
    PageUrl: _URL_FIELDS,
    PageContent: _CONTENT_FIELDS,
}
if TREE_MODEL is not Page:  # until django CMS 4.1
    _FIELDS[TREE_MODEL] = ("path", "site_id")


def connect() -> None:
    """Connect the receivers; called once, by the app's ready()."""
    for model, fields in _FIELDS.items():
        if fields:
            pre_save.connect(on_pre_save, sender=model, dispatch_uid=_UID)
            post_save.connect(on_post_save, sender=model, dispatch_uid=_UID)
    # Not of PageContent: its URLs outlive it, or are deleted themselves.
    for model in (Page, PageType, PageUrl):
        pre_delete.connect(on_pre_delete, sender=model, dispatch_uid=_UID)
    urls_need_reloading.connect(on_urls_need_reloading, dispatch_uid=_UID)
    for model in config_models():
        connect_config_model(model)


def connect_config_model(model: type[Model]) -> None:
    """Have each save and delete of a row that apphooks read announced, each change of its
    many-to-many relations included."""
    for sender in apps.get_models():
        if issubclass(sender, model._meta.concrete_model or model):
            post_save.connect(on_config_change, sender=sender, dispatch_uid=_UID)
            post_delete.connect(on_config_change, sender=sender, dispatch_uid=_UID)
    for through in tables_of(model):
        m2m_changed.connect(on_config_change, sender=through, dispatch_uid=_UID)


def on_config_change(using: str, **kwargs: Any) -> None:
    """A row that apphooks read was written; the token is made of it too."""
    announce_on_commit(using)


def on_pre_save(sender: type[Model], instance: Any, using: str, **kwargs: Any) -> None:
    """See whether this save will change routing: afterwards the old row is gone."""
    setattr(instance, _CHANGED, _will_change_routing(sender, instance, using))


def on_post_save(sender: type[Model], instance: Any, using: str, **kwargs: Any) -> None:
    """Plan the announcement. Not in pre_save: without a transaction it happens at once, and must
    not come before the save."""
    if instance.__dict__.pop(_CHANGED, True):
        announce_on_commit(using)


def on_pre_delete(sender: type[Model], instance: Any, using: str, **kwargs: Any) -> None:
    """Plan the announcement if the row routes. Django deletes in a transaction, so the commit
    comes later; and before the delete, the page of a URL can still be asked."""
    if _routes(sender, instance, using):
        announce_on_commit(using)


def on_urls_need_reloading(**kwargs: Any) -> None:
    """Somebody asks for a reload; django CMS's own receiver has written a new revision."""
    announce_on_commit(router.db_for_write(UrlconfRevision))


def _will_change_routing(model: type[Model], instance: Any, using: str) -> bool:
    rows = model._base_manager.using(using).filter(pk=instance.pk)
    old = rows.values(*_FIELDS[model]).first() if instance.pk is not None else None
    if old is None:
        return _routes(model, instance, using)
    if all(getattr(instance, name) == value for name, value in old.items()):
        return False
    return bool(old.get("application_urls")) or _routes(model, instance, using)


def _routes(model: type[Model], instance: Any, using: str) -> bool:
    """Whether an apphook hangs on this page, on the page of this URL, or on or below the page of
    this content."""
    if issubclass(model, Page):
        return bool(instance.application_urls)
    pages: QuerySet[Any] = Page._base_manager.using(using)
    if model is TREE_MODEL:
        pages = pages.filter(node_id=instance.pk)
    elif model is PageContent:
        # Not instance.page: a fixture may bring the content before its page.
        root = pages.filter(pk=instance.page_id).values_list("path", flat=True).first()
        if root is None:
            return False
        # The paths of a tree begin with that of its root (django-treebeard's MP_Node).
        pages = pages.filter(path__startswith=root)
    else:
        pages = pages.filter(pk=instance.page_id)
    return pages.exclude(application_urls=None).exclude(application_urls="").exists()


class _Announcement:
    """What one transaction has to tell. Savepoints may plan it several times, and roll some of
    the plans back; the first that is left does it for all."""

    done = False


_planned = threading.local()


def announce_on_commit(using: str, reason: Reason = "own") -> None:
    """Put this process in doubt, and tell all others, when the current transaction of this thread
    is committed: once, however often it is planned; never if it is rolled back. Without a
    transaction, at once.

    :param using: the database alias of the transaction.
    :param reason: why; what the processes give for the reload.
    """
    if reloader.inside_transactions:  # a test, whose transaction may never be committed
        state.mark_dirty(reason)
    connection = transaction.get_connection(using)
    if not (connection.in_atomic_block or connection.get_autocommit()):
        # Somebody commits by hand; Django cannot say when, and too early would be worse than late.
        logger.debug("Not announced: autocommit is off. The heartbeat or the poll finds it.")
        return
    announcement = vars(_planned).setdefault(using, _Announcement())
    hook = functools.partial(_announce, using, announcement, reason)
    transaction.on_commit(hook, using=using, robust=True)


def _announce(using: str, announcement: _Announcement, reason: Reason) -> None:
    if announcement.done:
        return
    announcement.done = True
    # Of a transaction that was rolled back it stays, not done, for the next one to use.
    vars(_planned).pop(using, None)
    state.mark_dirty(reason)
    try:
        get_transport().announce(using, reason)
    except Exception:
        # The transaction is committed: the user's request must not fail any more.
        logger.exception(
            "A change of apphook URLs could not be announced. The other processes find it at "
            "their next heartbeat or poll."
        )
