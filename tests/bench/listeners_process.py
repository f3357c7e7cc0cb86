"""``python -m tests.bench.listeners_process COUNT``: as many listeners as there would be workers,
each with a state and a connection of its own, in one process that answers no requests.

Each line that it reads is answered by how many heartbeats all of them have had; at the end of its
input it ends.
"""

from __future__ import annotations

import sys

import django


def main() -> None:
    django.setup()

    from cms_urlreload.state import State
    from cms_urlreload_pg.transport import PostgresTransport
    from tests.support.waiting import wait_until

    transports = [PostgresTransport(State()) for _ in range(int(sys.argv[1]))]
    token = transports[0].read_token("default")
    for transport in transports:
        transport.ensure_started()
    wait_until(lambda: all(t.is_healthy for t in transports), 60, "all to listen")
    for transport in transports:
        transport.state.applied = token
        transport.state.settle(transport.state.marks)
        transport.refreshed(changed=True)
    print("ready", flush=True)
    for _ in sys.stdin:
        print(sum(t.counters()["heartbeats"] for t in transports), flush=True)
    for transport in transports:
        transport.stop()


if __name__ == "__main__":
    main()
