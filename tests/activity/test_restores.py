"""The verbs on Velero's Restores: one an attempt however late it comes, from the very backup that was settled on."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from support import reports
from support.acting import Acting, FaultyApi, ScriptedRuns, connected, run_of
from support.bucket import Bucket
from support.kube import Kubectl, Operations, restore
from support.movers import POD_VOLUME_RESTORE, DataMovers
from support.proxy import Proxy, proxied_kubeconfig
from support.velero_verbs import CLUSTER, Verbs
from support.world import VELERO, VeleroRestores, config_map

from activities import artefacts
from activities import leftovers as leftovers_module
from activities.draining import DrainActivities
from activities.requests import (
    CleanedUp,
    Created,
    CreateRestoreRequest,
    DrainRequest,
    LeftoversRequest,
)
from activities.restores import RestoreActivities
from local_cluster.cluster import LocalCluster
from operation_engine.domain import identity
from operation_engine.domain.identity import OperationRef
from operation_engine.domain.resources.operation_status import AttemptCause, OperationStatus
from operation_engine.domain.velero import observe_restore
from operation_engine.records.operations import OperationStore
from operation_engine.runtime.kubernetes import NotFound, Refused, Unavailable

Json = dict[str, Any]
WITHIN_S = 30.0
BEGUN, LATER = "2026-03-01T12:00:00Z", "2026-03-01T12:00:01Z"


@pytest.fixture(scope="module", autouse=True)
def velero_stopped(cluster: LocalCluster) -> Iterator[None]:
    """Nobody works on Restores: one says what the test writes into it."""
    cluster.stop("velero")
    yield
    cluster.start("velero")


@pytest.fixture
def backup_name(namespace: str) -> str:
    return f"of-{namespace}"


@pytest.fixture
def operation(kubectl: Kubectl, operations: Operations, namespace: str, backup_name: str) -> Json:
    kubectl.apply(restore(namespace, backup_name))
    return operations.get(namespace, "restore")


@pytest_asyncio.fixture
async def claimed(store: OperationStore, ref: OperationRef) -> OperationStatus:
    return await store.claim(ref, run_of(ref), reports.first)


async def wanted(
    store: OperationStore, ref: OperationRef, status: OperationStatus, backup_name: str, after: int = 0
) -> CreateRestoreRequest:
    """The creation in an attempt that was begun: by the first run, or by the one that took over from it."""
    cause, run = (AttemptCause.INITIAL, "run-1") if after == 0 else (AttemptCause.RESET, "run-2")
    begun = await store.begin_attempt(ref, run_of(ref, run), reports.running(status), after, cause)
    return CreateRestoreRequest(ref=ref, report=reports.next_report(begun, begun), backup_name=backup_name)


def names(restores: VeleroRestores, operation: Json) -> list[str]:
    return [item["metadata"]["name"] for item in restores.of(operation)]


async def test_a_creation_repeated_after_a_crash_makes_one_restore(
    worker: Verbs,
    act: Acting,
    store: OperationStore,
    ref: OperationRef,
    claimed: OperationStatus,
    backup_name: str,
    restores: VeleroRestores,
    operation: Json,
) -> None:
    request = await wanted(store, ref, claimed, backup_name)
    created: Created = await act(worker.restores.create_restore, request)
    assert await act(worker.restores.create_restore, request) == created
    assert names(restores, operation) == [created.name]
    assert restores.get(created.name)["metadata"]["labels"][identity.ATTEMPT_LABEL] == "1"


class Slow:
    """A worker whose requests about Velero's objects a network holds."""

    def __init__(self, proxy: Proxy, verbs: RestoreActivities) -> None:
        self.proxy, self._verbs = proxy, verbs

    async def creating(self, act: Acting, request: CreateRestoreRequest) -> "asyncio.Task[Created]":
        """The creation, once its intent is written and its request is on the way."""
        self.proxy.hold()
        task = asyncio.create_task(act(self._verbs.create_restore, request))
        await asyncio.wait_for(self.proxy.holds.wait(), WITHIN_S)
        return task


@pytest_asyncio.fixture
async def slow(
    worker: Verbs, store: OperationStore, engine_kubeconfig: Path, tmp_path: Path, backup_name: str
) -> AsyncIterator[Slow]:
    async with proxied_kubeconfig(engine_kubeconfig, tmp_path) as (proxy, kubeconfig), connected(kubeconfig) as far:
        verbs = RestoreActivities(
            far, store, worker.watches, worker.artefacts, velero_namespace=VELERO, cluster_id=CLUSTER
        )
        yield Slow(proxy, verbs)


async def test_a_creation_that_comes_after_its_next_try_makes_no_second_restore(
    worker: Verbs,
    slow: Slow,
    act: Acting,
    store: OperationStore,
    ref: OperationRef,
    claimed: OperationStatus,
    backup_name: str,
    restores: VeleroRestores,
    operation: Json,
) -> None:
    request = await wanted(store, ref, claimed, backup_name)
    late = await slow.creating(act, request)
    assert names(restores, operation) == []
    created: Created = await act(worker.restores.create_restore, request)
    uid = restores.get(created.name)["metadata"]["uid"]
    slow.proxy.release()
    assert (await asyncio.wait_for(late, WITHIN_S)).name == created.name
    assert names(restores, operation) == [created.name]
    assert restores.get(created.name)["metadata"]["uid"] == uid


class Successor:
    """The run that takes over by a Reset while the creation of the one before is still on its way."""

    def __init__(
        self, worker: Verbs, store: OperationStore, runs: ScriptedRuns, ref: OperationRef, backup_name: str
    ) -> None:
        self.worker, self.store, self.ref, self.backup_name = worker, store, ref, backup_name
        self.act = Acting(run_of(ref, "run-2"))
        runs.reset("run-1", "run-2")

    async def claims(self) -> tuple[str, ...]:
        """The Restores that the runs before were to make."""
        self.status = await self.store.claim(self.ref, run_of(self.ref, "run-2"), reports.first)
        return tuple(attempt.velero_name or "" for attempt in self.status.attempts)

    async def drains(self, names: tuple[str, ...]) -> None:
        self.status = await self.act(self.worker.leftovers.drain_restores, self._about(names))

    async def cleans_up(self, names: tuple[str, ...]) -> CleanedUp:
        begun = reports.running(self.status)
        own = run_of(self.ref, "run-2")
        self.status = await self.store.begin_attempt(self.ref, own, begun, 1, AttemptCause.RESET)
        cleaned: CleanedUp = await self.act(self.worker.leftovers.delete_leftovers, self._about(names))
        return cleaned

    async def creates(self) -> Created:
        request = await wanted(self.store, self.ref, self.status, self.backup_name, after=1)
        created: Created = await self.act(self.worker.restores.create_restore, request)
        return created

    def _about(self, names: tuple[str, ...]) -> LeftoversRequest:
        return LeftoversRequest(
            ref=self.ref,
            report=reports.next_report(self.status, self.status),
            names=names,
            destination=self.ref.namespace,
            backup_name=self.backup_name,
            unsettled=names,
        )


@pytest.fixture
def successor(
    worker: Verbs, store: OperationStore, runs: ScriptedRuns, ref: OperationRef, backup_name: str
) -> Successor:
    return Successor(worker, store, runs, ref, backup_name)


async def test_a_take_over_waits_for_a_creation_that_comes_late_and_withdraws_it(
    slow: Slow,
    successor: Successor,
    act: Acting,
    store: OperationStore,
    ref: OperationRef,
    claimed: OperationStatus,
    backup_name: str,
    restores: VeleroRestores,
    operation: Json,
) -> None:
    late = await slow.creating(act, await wanted(store, ref, claimed, backup_name))
    before = await successor.claims()
    assert names(restores, operation) == [], "the intent alone is written"
    draining = asyncio.create_task(successor.drains(before))
    await asyncio.wait_for(successor.act.beat.wait(), WITHIN_S)
    assert successor.act.heartbeats[0] == (f"whether {before[0]} is still created",)
    slow.proxy.release()
    await asyncio.wait_for(draining, WITHIN_S)
    await asyncio.wait_for(late, WITHIN_S)
    created = await successor.creates()
    assert names(restores, operation) == [created.name]
    assert created.name not in before


async def test_a_cancel_waits_for_what_another_run_was_creating_and_withdraws_it(
    api: FaultyApi,
    worker: Verbs,
    slow: Slow,
    successor: Successor,
    act: Acting,
    store: OperationStore,
    ref: OperationRef,
    claimed: OperationStatus,
    backup_name: str,
    restores: VeleroRestores,
    operation: Json,
) -> None:
    late = await slow.creating(act, await wanted(store, ref, claimed, backup_name))
    (name,) = await successor.claims()
    draining = DrainActivities(api, store, worker.watches, VELERO)
    request = DrainRequest(ref=ref, until=datetime.now(UTC) + timedelta(seconds=WITHIN_S))
    drained = asyncio.create_task(successor.act(draining.drain, request))
    await asyncio.wait_for(successor.act.beat.wait(), WITHIN_S)
    assert successor.act.heartbeats[0] == (f"whether {name} is still created",)
    slow.proxy.release()
    left = (await asyncio.wait_for(drained, WITHIN_S)).remnants
    await asyncio.wait_for(late, WITHIN_S)
    assert [(one.name, one.withdrawn) for one in left] == [(name, True)]
    assert names(restores, operation) == []


async def test_a_take_over_goes_on_where_a_creation_never_comes(
    worker: Verbs,
    successor: Successor,
    store: OperationStore,
    ref: OperationRef,
    claimed: OperationStatus,
    restores: VeleroRestores,
    operation: Json,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(leftovers_module, "LATE_CREATE_S", 1.0)
    await store.begin_attempt(ref, run_of(ref), reports.running(claimed), 0, AttemptCause.INITIAL)
    before = await successor.claims()
    await asyncio.wait_for(successor.drains(before), WITHIN_S)
    created = await successor.creates()
    assert names(restores, operation) == [created.name]
    assert created.name not in before


FOREIGN = {
    "bare": {},
    "another Operation's": {identity.OPERATION_LABEL: "another", identity.CLUSTER_ID_LABEL: CLUSTER},
}


class TestARestoreUnderOurNameThatIsNotOurs:
    """Somebody else made it: nothing is done with it."""

    @pytest.fixture(params=FOREIGN)
    def foreign(
        self, request: Any, kubectl: Kubectl, restores: VeleroRestores, ref: OperationRef, backup_name: str
    ) -> Iterator[Json]:
        name = identity.velero_name(ref, identity.Role.MAIN, 1)
        metadata = {"name": name, "namespace": VELERO, "labels": FOREIGN[request.param]}
        spec = {"backupName": backup_name}
        kubectl.apply({"apiVersion": "velero.io/v1", "kind": "Restore", "metadata": metadata, "spec": spec})
        yield restores.get(name)
        kubectl("delete", "restores.velero.io", name, "-n", VELERO, "--ignore-not-found")

    async def test_is_refused_and_left_as_it_is(
        self,
        worker: Verbs,
        act: Acting,
        store: OperationStore,
        ref: OperationRef,
        claimed: OperationStatus,
        backup_name: str,
        restores: VeleroRestores,
        foreign: Json,
    ) -> None:
        with pytest.raises(Refused, match="that this engine did not make"):
            await act(worker.restores.create_restore, await wanted(store, ref, claimed, backup_name))
        assert restores.get(foreign["metadata"]["name"]) == foreign

    async def test_is_neither_withdrawn_nor_waited_for(
        self,
        successor: Successor,
        store: OperationStore,
        ref: OperationRef,
        claimed: OperationStatus,
        restores: VeleroRestores,
        foreign: Json,
    ) -> None:
        await store.begin_attempt(ref, run_of(ref), reports.running(claimed), 0, AttemptCause.INITIAL)
        before = await successor.claims()
        await asyncio.wait_for(successor.drains(before), WITHIN_S)
        assert restores.get(foreign["metadata"]["name"]) == foreign

    async def test_leaves_nothing_that_would_be_deleted(
        self,
        successor: Successor,
        store: OperationStore,
        ref: OperationRef,
        claimed: OperationStatus,
        restores: VeleroRestores,
        kubectl: Kubectl,
        cluster: LocalCluster,
        foreign: Json,
    ) -> None:
        name = foreign["metadata"]["name"]
        kubectl.apply(config_map(ref.namespace, "theirs", **{"velero.io/restore-name": name}))
        restores.say(name, phase="Completed")
        Bucket(cluster.env()).put_restore(
            name, "resource-list.json.gz", {"v1/ConfigMap": [f"{ref.namespace}/theirs(created)"]}
        )
        await store.begin_attempt(ref, run_of(ref), reports.running(claimed), 0, AttemptCause.INITIAL)
        before = await successor.claims()
        cleaned = await asyncio.wait_for(successor.cleans_up(before), WITHIN_S)
        assert f"Nothing deleted of Velero Restore {name}" in cleaned.message
        assert kubectl.json("get", "configmap", "theirs", "-n", ref.namespace)["data"] == {"name": "theirs"}


async def test_where_the_bucket_shows_no_words_those_of_the_data_movers_are_told(
    worker: Verbs,
    act: Acting,
    store: OperationStore,
    ref: OperationRef,
    claimed: OperationStatus,
    backup_name: str,
    restores: VeleroRestores,
    kubectl: Kubectl,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(artefacts, "PROCESSED_WITHIN_S", 1.0)
    request = await wanted(store, ref, claimed, backup_name)
    created: Created = await act(worker.restores.create_restore, request)
    movers = DataMovers(kubectl)
    mover = movers.make(POD_VOLUME_RESTORE, created.name, restores.get(created.name))
    movers.say(mover, "Failed", message="connect: connection refused")
    observation = observe_restore(restores.get(created.name))
    (words,) = await act(worker.restores.explain_restore, observation)
    assert words.endswith("volume data of pod : connect: connection refused")
    movers.delete(mover)
    with pytest.raises((Unavailable, NotFound)):
        await act(worker.restores.explain_restore, observation)
