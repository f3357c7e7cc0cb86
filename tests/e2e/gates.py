"""Holds one statement of a process that has its database in a file. Where there is a connection
between the two, Proxy.hold() does that."""

from __future__ import annotations

from pathlib import Path


class FileGate:
    """Holds the n-th statement of a process that has ``ROUTES_HOLD`` in its environment."""

    def __init__(self, folder: Path, position: int) -> None:
        self._folder, self._position = folder, position

    def __enter__(self) -> FileGate:
        (self._folder / "holding").unlink(missing_ok=True)
        (self._folder / "count").write_text("0")
        (self._folder / "armed").write_text(str(self._position))
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    @property
    def is_holding(self) -> bool:
        return (self._folder / "holding").exists()

    def release(self) -> None:
        (self._folder / "armed").unlink(missing_ok=True)
