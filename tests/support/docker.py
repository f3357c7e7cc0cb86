"""A Docker engine, if there is one, and ``docker compose`` on the file of this repository."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

ROOT = Path(__file__).resolve().parents[2]


class ComposeError(RuntimeError):
    """A command failed; the message has what it said."""


def missing(*images: str) -> str:
    """Why nothing can be run in containers of these images; empty if it can. Pulls nothing."""
    if shutil.which("docker") is None:
        return "no docker client"
    if _docker("info") is None:
        return "no Docker engine answers"
    if _compose() is None:
        return "no docker compose"
    absent = [image for image in images if _docker("image", "inspect", image) is None]
    return f"docker pull {' '.join(absent)}" if absent else ""


def containers(label: str) -> list[str]:
    """The names of the containers that have a label."""
    return (_docker("ps", "--format", "{{.Names}}", "--filter", f"label={label}") or "").split()


def _docker(*arguments: str) -> str | None:
    """What the client says; None if it fails."""
    answer = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, timeout=30, check=False
    )
    return answer.stdout if answer.returncode == 0 else None


def _compose() -> tuple[str, ...] | None:
    """The plugin, or the older program of its own."""
    if _docker("compose", "version") is not None:
        return ("docker", "compose")
    return ("docker-compose",) if shutil.which("docker-compose") else None


class Compose:
    """All services of docker-compose.yml; a context manager that brings them up and takes them
    down again, with their volumes."""

    def __init__(self, project: str, env: Mapping[str, str] | None = None) -> None:
        self._command = (*(_compose() or ()), "--project-name", project)
        self._env = {**os.environ, **(env or {})}

    def __enter__(self) -> Self:
        try:
            self.run("up", "--build", "--detach", timeout=900)
        except BaseException:
            self._down()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._down()

    def _down(self) -> None:
        self.run("down", "--volumes", "--timeout", "5")

    def run(self, *arguments: str, timeout: float = 120) -> str:
        """Run a command; return what it wrote."""
        answer = subprocess.run(
            [*self._command, *arguments],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=self._env,
            timeout=timeout,
            check=False,
        )
        if answer.returncode:
            end = "\n".join((answer.stdout + answer.stderr).splitlines()[-30:])
            raise ComposeError(f"{' '.join(arguments)} failed; it ended with:\n{end}")
        return answer.stdout

    def execute(self, service: str, *command: str) -> str:
        """Run a command in the container of a service."""
        return self.run("exec", "-T", service, *command)
