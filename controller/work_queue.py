"""Keys to be looked at, each at most once at a time, again after a growing pause where it failed."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

FIRST_PAUSE_S = 0.5
MAX_PAUSE_S = 30.0


class WorkQueue(Generic[K]):
    """`handle` is called for each key that was added; adding one that waits changes nothing."""

    def __init__(self, handle: Callable[[K], Awaitable[bool]], concurrency: int) -> None:
        self._handle, self._concurrency = handle, concurrency
        self._ready: asyncio.Queue[K] = asyncio.Queue()
        self._waiting: set[K] = set()
        self._handled: set[K] = set()
        self._changed: set[K] = set()
        """Added while they were being handled: looked at again, and never twice at a time."""
        self._failures: dict[K, int] = {}

    def add(self, key: K) -> None:
        """Look at the key soon."""
        if key in self._handled:
            self._changed.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.put_nowait(key)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._concurrency):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            key = await self._ready.get()
            self._waiting.discard(key)
            self._handled.add(key)
            try:
                is_done = await self._handle(key)
            finally:
                self._handled.discard(key)
            if is_done:
                self._failures.pop(key, None)
            else:
                self._again(key)
            if key in self._changed:
                self._changed.discard(key)
                self.add(key)

    def _again(self, key: K) -> None:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        pause = min(MAX_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures - 1, 10))
        asyncio.get_running_loop().call_later(pause * random.uniform(0.75, 1.0), self.add, key)  # noqa: S311 - jitter
