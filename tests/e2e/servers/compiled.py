"""The servers that pip has to compile, uWSGI and mod_wsgi: kept beside the environments of the
version matrix, one folder for each. Refuses to touch the environment that it runs in.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.matrix import MATRIX, REQUIRE_ALL


class MissingError(RuntimeError):
    """This machine lacks a server; the message says what to do."""


@functools.cache
def compiled(requirement: str) -> Path:
    """Return the folder that a package ("name==version") is in. Where nothing may be missing, it
    is compiled at the first call; that takes half a minute.

    :raises MissingError: if it is not there, or cannot be compiled.
    """
    name = f"{requirement.replace('==', '-')}-{sys.implementation.cache_tag}"
    folder = MATRIX / "servers" / name
    if folder.is_dir():
        return folder
    if not os.environ.get(REQUIRE_ALL):
        raise MissingError(f"{requirement} is not compiled here: {REQUIRE_ALL}=1 does it")
    unfinished = folder.with_name(f"{name}.{os.getpid()}")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command = [*pip, "--target", str(unfinished), requirement]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        if answer.returncode:
            end = "\n".join((answer.stdout + answer.stderr).splitlines()[-15:])
            raise MissingError(
                f"{requirement} cannot be compiled (Debian: gcc, libc6-dev; for mod_wsgi, "
                f"apache2-dev too):\n{end}"
            )
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder
