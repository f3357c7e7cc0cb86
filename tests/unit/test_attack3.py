from __future__ import annotations
import os, random, signal, threading, time, traceback, collections
from typing import Any
import psycopg, pytest
from cms.models import PageUrl
from django.db import connection, connections
from django.urls import reverse
from django.utils.translation import override
from .conftest import Process, dsn

pytestmark = pytest.mark.django_db(transaction=True)


class Limit(Exception):
    pass


def test_c1_signals(process: Process, make_page: Any) -> None:
    """A signal handler raises at a random moment of a look (a soft time limit). Afterwards the next
    look must be right."""
    with override("en"):
        page = make_page("news", "NewsApphook")
        process.refresh()
        r = process.reloader
        active = [False]

        def handler(*a: Any) -> None:
            if active[0]:
                active[0] = False
                raise Limit

        before = signal.signal(signal.SIGALRM, handler)
        bad = collections.Counter()
        where = collections.Counter()
        examples = {}
        # how long is a look
        t = time.perf_counter()
        for n in range(20):
            process.state.mark_dirty(); process.refresh()
        length = (time.perf_counter() - t) / 20
        end = time.monotonic() + float(os.environ.get("C1", "60"))
        tries = hits = 0
        try:
            while time.monotonic() < end:
                tries += 1
                tb = None
                mode = tries % 3
                if mode == 0:
                    connection.close()
                process.now += 100
                process.state.mark_dirty()
                active[0] = True
                L = length * (8 if mode == 0 else 1.1)
                signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, L))
                try:
                    process.refresh()
                    active[0] = False
                except Limit as e:
                    hits += 1
                    tb = traceback.extract_tb(e.__traceback__)
                active[0] = False
                signal.setitimer(signal.ITIMER_REAL, 0)
                w = connections["default"]
                found = []
                if r._flights._current is not None: found.append("flight stuck")
                if r._flights._lock.locked(): found.append("lock held")
                if w.in_atomic_block: found.append("in_atomic_block")
                if not w.autocommit and w.connection is not None: found.append("autocommit off")
                if w.execute_wrappers: found.append("wrappers left")
                if "get_new_connection" in vars(w): found.append("get_new_connection left")
                from cms_urlreload.snapshot import _pin
                if getattr(_pin._here, "pinned", None) is not None: found.append("pinned")
                if w.connection is not None and not w.connection.closed:
                    st = w.connection.info.transaction_status.name
                    if st != "IDLE": found.append("session " + st)
                key = ", ".join(found)
                if found:
                    bad[key] += 1
                    if tb is not None and key not in examples:
                        examples[key] = [f"{os.path.basename(f.filename)}:{f.lineno} {f.name}" for f in tb][-6:]
                    elif tb is None and key not in examples:
                        examples[key] = ["swallowed; failure: %s" % r.failure]
                    # mend it by hand, to go on
                    from cms_urlreload.single_flight import SingleFlight
                    r._flights = SingleFlight()
                    w.in_atomic_block = False; w.autocommit = True
                    w.execute_wrappers.clear(); vars(w).pop("get_new_connection", None)
                    if hasattr(_pin._here, "pinned"): del _pin._here.pinned
                    w.savepoint_ids = []; w.closed_in_transaction = False; w.needs_rollback = False
                    try: w.close()
                    except Exception: pass
                    w.connection = None
        finally:
            active[0] = False
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        print("tries", tries, "hits", hits, "length", length, "bad", sum(bad.values()))
        for k, v in bad.most_common():
            print(v, k, examples.get(k))
        time.sleep(2.5)
        print("threads", [t.name for t in threading.enumerate()], len(os.listdir("/proc/self/task")), "fds", len(os.listdir("/proc/self/fd")))
