"""Processes of the demo site that answer no HTTP request: commands that are spoken to by lines,
and changes that are made by somebody who is gone afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from queue import Queue
from typing import Any

from tests.demo.site import ROOT
from tests.e2e.conftest import Database
from tests.support.processes import die_with_parent, end_process, tail


def environment(database_url: str, apps: str, **urlreload: Any) -> dict[str, str]:
    """What a process of the demo site is started with."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "DJANGO_SETTINGS_MODULE": "tests.demo.settings",
        "DEMO_DATABASE_URL": database_url,
        "DEMO_EXTRA_APPS": apps,
        "DEMO_ROOT_URLCONF": "tests.e2e.controls.urls",
        "DEMO_CMS_URLRELOAD": json.dumps(urlreload),
    }


class LineProcess:
    """A child that answers lines by lines."""

    def __init__(self, log: Path, env: dict[str, str], *arguments: str) -> None:
        self._log = log
        with log.open("wb") as file:
            self.child = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                cwd=ROOT,
                env=env,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGKILL),
            )
        self._lines: Queue[str] = Queue()
        self._reader = threading.Thread(target=self._read, name="reader", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.child.stdout is not None
        for line in self.child.stdout:
            self._lines.put(line.decode().strip())

    @property
    def log(self) -> str:
        return self._log.read_text()

    def tell(self, *lines: str) -> None:
        assert self.child.stdin is not None
        self.child.stdin.write("".join(f"{line}\n" for line in lines).encode())
        self.child.stdin.flush()

    def hear(self, count: int = 1) -> list[str]:
        return [self._lines.get(timeout=30) for _ in range(count)]

    def ask(self, line: str) -> str:
        self.tell(line)
        return self.hear()[0]

    def end(self) -> None:
        """End its input, at which it ends by itself."""
        assert self.child.stdin is not None
        self.child.stdin.close()
        self.child.wait(20)
        assert self.child.returncode == 0, tail(self._log)

    def __enter__(self) -> LineProcess:
        return self

    def __exit__(self, *error: object) -> None:
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        with contextlib.suppress(OSError):
            self.child.stdin.close()
        end_process(self.child, signal.SIGTERM, 20, group=True)
        self._reader.join(20)
        self.child.stdout.close()


def shell(env: dict[str, str], code: str) -> None:
    """Make a change in a shell."""
    command = [sys.executable, "-m", "tests.demo.manage", "shell", "-c", code]
    answer = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr


def move_in_shell(env: dict[str, str], page_id: int, path: str) -> None:
    shell(
        env,
        "from cms.models import PageUrl\n"
        f"url = PageUrl.objects.get(page={page_id}, language='en')\n"
        f"url.path = {path!r}\n"
        "url.save()",
    )


def move_by_sql(database: Database, key: str, path: str) -> None:
    database.sql(
        "UPDATE cms_pageurl SET path = %s WHERE page_id = %s AND language = 'en'",
        path,
        database.pages[key]["id"],
    )
