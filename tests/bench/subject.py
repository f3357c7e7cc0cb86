"""A process that is measured: it does what it is told, one thing at a time, and answers with what
it has found. The lines between the two are JSON.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import IO, TYPE_CHECKING, Any

from tests.demo.site import ROOT
from tests.support.processes import end_process

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

#: What is told by a process that is measured, and by nobody else.
_MARK = "bench:"


def environment(dsn: str, reload: str, **more: str) -> dict[str, str]:
    """The demo's settings on a database; ``reload`` is "ours", "core" or "none"."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.demo.settings",
        "DEMO_DATABASE_URL": dsn,
        "DEMO_RELOAD": reload,
        "DEMO_LOG_LEVEL": "WARNING",
        **more,
    }


class Subject:
    """``python -m module``, which calls :func:`serve`; a context manager that ends it."""

    def __init__(self, module: str, env: Mapping[str, str]) -> None:
        self._module = module
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=dict(env),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for end in (self._process.stdin, self._process.stdout):
            if end is not None:
                end.close()
        end_process(self._process, signal.SIGTERM, 10)

    def ask(self, command: str, **arguments: Any) -> Any:
        """Have one thing done, and return the answer."""
        self.tell(command, **arguments)
        return self.answer()

    def tell(self, command: str, **arguments: Any) -> None:
        """Have one thing begun; its answer must be taken before the next."""
        pipe, _ = self._pipes()
        pipe.write(json.dumps([command, arguments]).encode() + b"\n")
        pipe.flush()

    def answer(self) -> Any:
        """Return the answer to what was told."""
        _, answers = self._pipes()
        for line in answers:
            if line.startswith(_MARK.encode()):
                return json.loads(line[len(_MARK) :])
        raise RuntimeError(f"{self._module} ended; why is on stderr")

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        return process.stdin, process.stdout


def serve(commands: Mapping[str, Callable[..., Any]]) -> None:
    """In the process that is measured: do what is asked, until nobody asks any more."""
    for line in sys.stdin:
        command, arguments = json.loads(line)
        answer = json.dumps(commands[command](**arguments))
        sys.stdout.write(f"{_MARK}{answer}\n")
        sys.stdout.flush()
