"""Random changes by three writers, and readers that know which states were committed: each answer
is of one, and the last one is everywhere within the bound.

2,000 changes; with CMS_URLRELOAD_TEST_FULL=1, 5,000.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from tests.demo.site import ROOT
from tests.e2e import random_changes
from tests.e2e.conftest import ROUTES, ROUTES_SETTING, Database, Fleet
from tests.support.lengths import length

CHANGES = length(2000, 5000)


def test_random_changes__are_answered_as_committed(
    routes_database: Database, start_on: Callable[..., Fleet]
) -> None:
    fleet = start_on(
        routes_database,
        workers=3,
        worker_class="gthread",
        threads=4,
        urlreload={
            **ROUTES_SETTING,
            "HEARTBEAT_INTERVAL": random_changes.HEARTBEAT_INTERVAL,
            "HEARTBEAT_TIMEOUT": random_changes.HEARTBEAT_TIMEOUT,
        },
        env=ROUTES,
    )
    fleet.ping()
    seed = random.getrandbits(32)
    result = change(fleet, seed)
    print(f"seed {seed}: {json.dumps(result, indent=1)}")
    assert result["wrong"] == []
    assert result["counts"]["answers"] > CHANGES // 10  # they wait for many a refresh


def change(fleet: Fleet, seed: int) -> Any:
    addresses = [worker.base_url for worker in fleet.workers]
    arguments = [json.dumps(addresses), str(CHANGES), str(seed)]
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.e2e.random_changes", *arguments],
        capture_output=True,
        text=True,
        timeout=900,
        cwd=ROOT,
        env=dict(fleet.site.environment),
        check=False,
    )
    assert answer.returncode == 0, answer.stderr[-4000:]
    return json.loads(answer.stdout)
