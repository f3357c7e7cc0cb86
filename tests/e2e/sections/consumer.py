"""A consumer: one asyncio loop, with several messages at a time, and no Django server around it.

Each message is a line ``<number> <name>``, and is answered by a line ``<number> <URL>``. Between
them a coroutine measures how late the loop is; the worst, in milliseconds, is the last line.
"""

from __future__ import annotations

# Before django.setup(), as in a module that a framework imports first.
from cms_urlreload.tasks import aensure_fresh  # isort: skip

import asyncio
import contextlib
import sys
import time

import django
from django.urls import NoReverseMatch, reverse
from django.utils.translation import override

TICK = 0.01


async def answer(line: str) -> None:
    number, name = line.split()
    await aensure_fresh()
    with override("en"):
        try:
            url = reverse(name)
        except NoReverseMatch:
            url = "-"
    print(number, url, flush=True)


async def watch(late: list[float]) -> None:
    while True:
        asked = time.monotonic()
        await asyncio.sleep(TICK)
        late.append(time.monotonic() - asked - TICK)


async def consume() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    late = [0.0]
    watcher = asyncio.create_task(watch(late))
    tasks = set()
    while line := await reader.readline():
        task = asyncio.create_task(answer(line.decode()))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    watcher.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watcher
    print("late", round(max(late) * 1000), flush=True)


if __name__ == "__main__":
    django.setup()
    asyncio.run(consume())
