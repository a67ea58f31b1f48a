"""The shared watch against a real API server: it ends up with the truth, whatever happened to its connection."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from support.acting import FaultyApi, connected
from support.kube import Kubectl, backup
from support.proxy import Proxy, proxied_kubeconfig

from local_cluster.cluster import LocalCluster
from operation_engine.runtime import watching
from operation_engine.runtime.kubernetes import OPERATIONS, Gone, KubernetesApi, Manifest
from operation_engine.runtime.watching import ANY, Key, Reflector

WITHIN_S = 40.0


def generation(manifest: Manifest) -> int:
    return int(manifest["metadata"]["generation"])


class Watched:
    """A reflector of one namespace's Operations, and what it told."""

    def __init__(self, api: KubernetesApi, namespace: str) -> None:
        self.told: list[tuple[Key, int | None]] = []
        self.namespace = namespace
        self.reflector = Reflector(
            api,
            OPERATIONS,
            generation,
            namespace=namespace,
            on_change=self._hear,
        )

    def _hear(self, key: Key, value: int | None) -> None:
        self.told.append((key, value))

    async def until(self, holds: Callable[[set[str]], bool]) -> None:
        """Wait until the names in the index are as wanted."""
        async with asyncio.timeout(WITHIN_S):
            while not holds({name for _, name in self.reflector.index}):
                await self.reflector.changed(ANY, 0.2)


@pytest_asyncio.fixture
async def watched(api: FaultyApi, namespace: str) -> AsyncIterator[Watched]:
    watch = Watched(api, namespace)
    async with watch.reflector.running():
        async with asyncio.timeout(WITHIN_S):
            await watch.reflector.synced.wait()
        yield watch


Network = tuple[Proxy, Path]


@pytest_asyncio.fixture
async def network(engine_kubeconfig: Path, tmp_path: Path) -> AsyncIterator[Network]:
    async with proxied_kubeconfig(engine_kubeconfig, tmp_path) as found:
        yield found


@pytest.fixture
def proxy(network: Network) -> Proxy:
    return network[0]


@pytest_asyncio.fixture
async def far(network: Network, namespace: str) -> AsyncIterator[Watched]:
    """The same through a network."""
    async with connected(network[1]) as api:
        watch = Watched(api, namespace)
        async with watch.reflector.running():
            async with asyncio.timeout(WITHIN_S):
                await watch.reflector.synced.wait()
            yield watch


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists may follow each other soon."""
    monkeypatch.setattr(watching, "LIST_PAUSE_S", 0.5)
    monkeypatch.setattr(watching, "MAX_BACKOFF_S", 1.0)


async def off(loop_call: Callable[[], object]) -> None:
    """A blocking call beside the watch."""
    await asyncio.to_thread(loop_call)


async def test_it_knows_what_was_there_and_hears_what_changes(watched: Watched, kubectl: Kubectl) -> None:
    namespace, key = watched.namespace, (watched.namespace, "backup")
    waiting = asyncio.create_task(watched.reflector.changed(key, WITHIN_S))
    await off(lambda: kubectl.apply(backup(namespace)))
    assert await waiting
    assert watched.reflector.index[key] == 1
    await off(lambda: kubectl("annotate", "operation", "backup", "-n", namespace, "nothing=changes"))
    await off(lambda: kubectl("delete", "operation", "backup", "-n", namespace))
    await watched.until(lambda names: not names)
    assert watched.told == [(key, 1), (key, None)], "a change of what is not kept is not told"


async def test_whoever_waits_for_another_object_is_not_woken(watched: Watched, kubectl: Kubectl) -> None:
    waiting = asyncio.create_task(watched.reflector.changed((watched.namespace, "another"), 1.0))
    await off(lambda: kubectl.apply(backup(watched.namespace)))
    assert not await waiting


async def test_a_version_that_is_too_old_is_said_to_be_gone(api: FaultyApi) -> None:
    with pytest.raises(Gone):
        async for _ in api.watch(OPERATIONS, None, "1", 5):
            pass


async def test_after_410_it_lists_again(api: FaultyApi, namespace: str, kubectl: Kubectl, impatient: None) -> None:
    api.before_watch = [lambda version: "1"]
    watch = Watched(api, namespace)
    async with watch.reflector.running():
        await off(lambda: kubectl.apply(backup(namespace)))
        await watch.until(lambda names: names == {"backup"})
    assert not api.before_watch


async def test_a_storm_of_410_is_not_one_of_lists(api: FaultyApi, namespace: str) -> None:
    api.before_watch = [lambda version: "1"] * 50
    watch = Watched(api, namespace)
    async with watch.reflector.running():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(3):
                await asyncio.Event().wait()
    assert len(api.before_watch) == 49


async def test_what_was_deleted_while_it_was_cut_off_is_told_when_it_is_back(
    far: Watched, proxy: Proxy, kubectl: Kubectl, impatient: None
) -> None:
    kubectl.apply(backup(far.namespace, "stays"), backup(far.namespace, "goes"))
    await far.until(lambda names: names == {"stays", "goes"})
    proxy.refusing = True
    proxy.cut()
    await off(lambda: kubectl("delete", "operation", "goes", "-n", far.namespace))
    await off(lambda: kubectl.apply(backup(far.namespace, "comes")))
    assert {name for _, name in far.reflector.index} == {"stays", "goes"}
    proxy.refusing = False
    await far.until(lambda names: names == {"stays", "comes"})
    assert ((far.namespace, "goes"), None) in far.told
    assert [name for (_, name), value in far.told if value is not None].count("stays") == 1


async def test_a_stream_that_breaks_in_the_middle_of_an_object_loses_nothing(
    far: Watched, proxy: Proxy, kubectl: Kubectl, impatient: None
) -> None:
    proxy.cut_after = 200
    await off(lambda: kubectl.apply(backup(far.namespace)))
    await far.until(lambda names: names == {"backup"})
    assert proxy.cut_after is None


@pytest.fixture
def short_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    """A watch is bounded at one second by the server, and at sixteen by its client."""
    monkeypatch.setattr(watching, "WATCH_S", (1, 1))


async def test_a_connection_that_is_dead_and_does_not_say_so_is_given_up(
    short_watches: None, impatient: None, far: Watched, proxy: Proxy, kubectl: Kubectl
) -> None:
    proxy.stall()
    await off(lambda: kubectl.apply(backup(far.namespace)))
    await far.until(lambda names: names == {"backup"})


async def test_it_outlives_a_restart_of_the_api_server(
    watched: Watched, cluster: LocalCluster, kubectl: Kubectl, impatient: None
) -> None:
    await off(lambda: cluster.restart("kube-apiserver"))
    await off(lambda: kubectl.apply(backup(watched.namespace)))
    await watched.until(lambda names: names == {"backup"})
    assert watched.reflector.silent_s < WITHIN_S
