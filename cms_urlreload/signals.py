"""Signals that this package sends. Receivers are called by ``send_robust()``: what they raise is
logged by Django and harms nothing. They run where the thing happened, so they should be short."""

from django.dispatch import Signal

#: This process is now told of changes ("push"), or asks for them ("poll"), and was not before.
#: Sent in the listener's thread, or in that of the request that found out; a receiver must not
#: use the database there. Arguments: ``mode`` (a :class:`cms_urlreload.mode.Mode`).
mode_changed = Signal()

#: This process has published other URLs. Sent in the thread of the request that needed them.
#: Arguments: ``pages`` (int: how many pages have an apphook now, counted once in each language),
#: ``replaced`` (int: resolvers that were copied), ``seconds`` (float: what it took, the queries
#: included), ``reason`` (str: why it looked, one of :data:`cms_urlreload.state.REASONS`).
urls_reloaded = Signal()

#: A refresh of this process failed: the last good URLs keep serving, and it is tried again. Sent at
#: each attempt, in the thread of the request that needed it. Arguments: ``error`` (Exception).
refresh_failed = Signal()

#: Something happened that is only counted. Sent in the thread that it happened in, which may be the
#: listener's; a receiver must not use the database there. Arguments: ``name`` (str):
#:
#: * ``token_reads``: the token was read for a request, a task, or who else needs current URLs;
#: * ``notifications``: another process, or a trigger, has said that routing changed;
#: * ``heartbeats``: the listener's connection was proved to live;
#: * ``missed``: a heartbeat found a change that nobody had announced.
counted = Signal()
