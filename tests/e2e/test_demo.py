"""What a newcomer runs first: the demo, with all that may be in its way."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.support.browser import open_browser
from tests.support.terminal import take_picture
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]


def demo(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tests.demo", *arguments]


def test_run__shows_the_main_job__and_leaves_nothing_behind(tmp_path: Path) -> None:
    """With a picture of it for people, where CMS_URLRELOAD_SCREENSHOTS says where it goes."""
    answer = subprocess.run(
        demo("run", "--changes", "8"),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os_environ(), "TMPDIR": str(tmp_path)},
        timeout=180,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "8 of 8 changes were right on all 4 workers at once" in answer.stdout
    assert "0 queries of ours in 400 unchanged requests" in answer.stdout
    left = [path.name for path in tmp_path.iterdir() if "cms-urlreload-postgres" not in path.name]
    assert left == []
    if folder := os.environ.get("CMS_URLRELOAD_SCREENSHOTS"):
        table = answer.stdout[answer.stdout.index("#  change") :].partition("\n\nNext:")[0]
        with open_browser() as browser:
            take_picture(browser, "make demo", table, Path(folder, "demo.png"))


def os_environ() -> dict[str, str]:
    # Of the tests' own site.
    return {name: value for name, value in os.environ.items() if not name.startswith("DEMO_")}


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield int(taken.getsockname()[1])


def test_serve__takes_another_port__and_ends_with_ctrl_c(tmp_path: Path, taken_port: int) -> None:
    output = tmp_path / "output"
    with output.open("w") as file:
        process = subprocess.Popen(
            demo("serve", "--workers", "1", "--port", str(taken_port)),
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=os_environ(),
        )
    try:
        address: Any = wait_until(
            lambda: re.search(r"http://127\.0\.0\.1:(\d+)/en/", output.read_text()),
            90,
            lambda: f"an address in {output.read_text()}",
        )
        assert int(address[1]) != taken_port
        assert str(taken_port) in output.read_text()  # it is said
        assert urlopen(address[0], timeout=30).status == 200
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
    assert process.returncode in (0, 130)
    assert "Traceback" not in output.read_text()
    with pytest.raises(OSError, match="refused"):
        urlopen(address[0], timeout=5)
