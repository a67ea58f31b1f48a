"""One list and watch of one kind, shared by everybody in the process who waits for its objects.

The worker watches Velero's objects with it, the controller Operations. It keeps a small parsed value an object,
never the object itself (27 KB as Python dicts), and wakes whoever waits for a key.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

from operation_engine.runtime.http import Health
from operation_engine.runtime.kubernetes import Gone, KubernetesApi, KubernetesError, Manifest, Resource
from operation_engine.runtime.telemetry import WATCH_LAST_ACTIVITY, get_logger

T = TypeVar("T")
Key = tuple[str, str]
"""(namespace, name) of an object."""
ANY: Key = ("*", "*")
"""To wait for a change of whichever object."""

RELIST_AFTER_S = (300.0, 600.0)
WATCH_S = (60, 120)
LIST_PAUSE_S = 10.0
"""At most one relist in this time, whatever the server answers: a storm of 410s must not become one of lists."""
MAX_BACKOFF_S = 30.0
DEAF_AFTER_S = 300.0
"""A watch that heard nothing for so long is broken: the server sends bookmarks every minute."""
PAGE = "500"

_log = get_logger(__name__)


class Reflector(Generic[T]):
    """An index of parsed objects, kept true by list and watch. `parse` returning None leaves an object out."""

    def __init__(
        self,
        api: KubernetesApi,
        resource: Resource,
        parse: Callable[[Manifest], T | None],
        *,
        namespace: str | None = None,
        selector: str = "",
        on_change: Callable[[Key, T | None], None] = lambda key, value: None,
    ) -> None:
        self._api, self._resource, self._parse = api, resource, parse
        self._namespace, self._selector, self._on_change = namespace, selector, on_change
        self._waiters: dict[Key, set[asyncio.Future[None]]] = {}
        self.index: dict[Key, T] = {}
        self.synced = asyncio.Event()
        self.last_activity = time.monotonic()

    @property
    def silent_s(self) -> float:
        """Seconds since the server was last heard: what liveness goes by."""
        return time.monotonic() - self.last_activity

    async def changed(self, key: Key, timeout_s: float) -> bool:
        """Wait until the object under `key` changes; False when the time ran out first."""
        future = asyncio.get_running_loop().create_future()
        waiting = self._waiters.setdefault(key, set())
        waiting.add(future)
        try:
            async with asyncio.timeout(timeout_s):
                await future
        except TimeoutError:
            return False
        finally:
            waiting.discard(future)
            if not waiting:
                self._waiters.pop(key, None)
        return True

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Reflector[T]"]:
        """Watch for as long as the block lasts."""
        task = asyncio.create_task(self._run(), name=f"watch {self._resource.plural}")
        try:
            yield self
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        failures = 0
        while True:
            listed_at = time.monotonic()
            try:
                version = await self._list()
                failures = 0
                await self._watch_until_stale(version)
            except Gone:
                _log.info("watch expired, listing again", resource=self._resource.plural)
            except KubernetesError as error:
                failures += 1
                _log.warning("watch failed, listing again", resource=self._resource.plural, error=str(error))
            except Exception:
                # An index that stopped in silence would leave every Operation waiting for ever.
                failures += 1
                _log.exception("watch failed unexpectedly, listing again", resource=self._resource.plural)
            await asyncio.sleep(_pause(failures, time.monotonic() - listed_at))

    async def _list(self) -> str:
        seen: set[Key] = set()
        token, version = "", ""
        while True:
            page = await self._api.list(
                self._resource, self._namespace, labelSelector=self._selector, limit=PAGE, **{"continue": token}
            )
            self._heard()
            for item in page["items"]:
                seen.add(self._put(item))
            version, token = str(page["metadata"]["resourceVersion"]), page["metadata"].get("continue", "")
            if not token:
                break
        for key in [key for key in self.index if key not in seen]:
            self._remove(key)
        self.synced.set()
        return version

    async def _watch_until_stale(self, version: str) -> None:
        """Resume the watch where it ended until the time for a relist has come."""
        relist_at = time.monotonic() + random.uniform(*RELIST_AFTER_S)  # noqa: S311 - jitter
        while time.monotonic() < relist_at:
            bound = random.randint(*WATCH_S)  # noqa: S311 - jitter
            events = self._api.watch(self._resource, self._namespace, version, bound, self._selector)
            async for kind, item in events:
                self._heard()
                version = item["metadata"]["resourceVersion"]
                if kind == "DELETED":
                    self._remove(_key(item))
                elif kind != "BOOKMARK":
                    self._put(item)
            self._heard()

    def _put(self, item: Manifest) -> Key:
        key, value = _key(item), self._parse(item)
        if value is None:
            self._remove(key)
        elif self.index.get(key) != value:
            self.index[key] = value
            self._tell(key, value)
        return key

    def _remove(self, key: Key) -> None:
        if self.index.pop(key, None) is not None:
            self._tell(key, None)

    def _tell(self, key: Key, value: T | None) -> None:
        self._on_change(key, value)
        self.wake(key)

    def wake(self, key: Key) -> None:
        """Let whoever waits for `key` look again: something that belongs to it has changed."""
        for future in (*self._waiters.get(key, ()), *self._waiters.get(ANY, ())):
            if not future.done():
                future.set_result(None)

    def _heard(self) -> None:
        self.last_activity = time.monotonic()


def watch_metric(name: str, watch: Reflector[Any]) -> None:
    """For a watch that the process can do without: how long it has been silent."""
    WATCH_LAST_ACTIVITY.labels(resource=name).set_function(lambda: watch.silent_s)


def watch_checks(health: Health, name: str, watch: Reflector[Any]) -> None:
    """Ready = a list succeeded; live = the server was heard lately."""

    def live() -> str | None:
        return f"nothing heard for {watch.silent_s:.0f} s" if watch.silent_s > DEAF_AFTER_S else None

    watch_metric(name, watch)
    health.live[f"watch-{name}"] = live
    health.ready[f"watch-{name}"] = lambda: None if watch.synced.is_set() else "not listed yet"


def _key(item: Manifest) -> Key:
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


def _pause(failures: int, since_list_s: float) -> float:
    """Seconds before the next list: bounded backoff after failures, else what is left of the pause between lists."""
    if failures:
        return min(MAX_BACKOFF_S, 0.5 * 2.0 ** min(failures, 10)) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
    return max(0.0, LIST_PAUSE_S - since_list_s)
