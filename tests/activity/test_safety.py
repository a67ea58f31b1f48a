"""A safety backup is of its own run: tried again it is the same one, after a Reset a new one."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from support import reports
from support.acting import Acting, FaultyApi, ScriptedRuns, run_of
from support.kube import Kubectl, Operations, restore
from support.world import VELERO, VeleroBackups

from activities.safeguard_requests import SafetyCreated, SafetyRequest
from activities.safety import SafetyActivities
from operation_engine.domain import safety
from operation_engine.domain.identity import OperationRef
from operation_engine.domain.velero import StorageLocation, observe_storage_location
from operation_engine.records.operations import OperationStore
from operation_engine.runtime.kubernetes import BACKUP_STORAGE_LOCATIONS, Refused
from operation_engine.runtime.watching import Reflector

Json = dict[str, Any]


@pytest.fixture
def operation(kubectl: Kubectl, operations: Operations, namespace: str) -> Json:
    kubectl.apply(restore(namespace, f"of-{namespace}"))
    return operations.get(namespace, "restore")


@pytest_asyncio.fixture
async def locations(api: FaultyApi) -> AsyncIterator[Reflector[StorageLocation]]:
    watch = Reflector(api, BACKUP_STORAGE_LOCATIONS, observe_storage_location, namespace=VELERO)
    async with watch.running():
        await asyncio.wait_for(watch.synced.wait(), 30)
        yield watch


@pytest.fixture
def verbs(api: FaultyApi, store: OperationStore, locations: Reflector[StorageLocation]) -> SafetyActivities:
    return SafetyActivities(api, store, locations, velero_namespace=VELERO, cluster_id="a-cluster")


@pytest_asyncio.fixture
async def like(kubectl: Kubectl, backups: VeleroBackups, namespace: str) -> Any:
    """The backup that would be restored."""
    name = f"of-{namespace}"
    meta, status = {"name": name, "namespace": VELERO}, {"phase": "Completed"}
    spec = {"includedNamespaces": [namespace], "snapshotVolumes": False}
    kubectl.apply({"apiVersion": "velero.io/v1", "kind": "Backup", "metadata": meta, "spec": spec, "status": status})
    yield name
    backups.delete(name)


def request(ref: OperationRef, status: Any, number: int) -> SafetyRequest:
    own = ref.namespace
    report = reports.next_report(status, status)
    return SafetyRequest(ref=ref, report=report, source=own, destination=own, backup_name=f"of-{own}", number=number)


async def test_a_try_that_crashed_finds_its_backup_and_a_reset_makes_another(
    verbs: SafetyActivities,
    store: OperationStore,
    runs: ScriptedRuns,
    ref: OperationRef,
    backups: VeleroBackups,
    operation: Json,
    like: str,
) -> None:
    status = await store.claim(ref, run_of(ref), reports.first)
    asked = request(ref, status, 1)
    first: SafetyCreated = await Acting(run_of(ref))(verbs.create_safety_backup, asked)
    again: SafetyCreated = await Acting(run_of(ref))(verbs.create_safety_backup, asked)
    assert (first.name, first.number) == (again.name, again.number)
    made = backups.get(first.name)
    assert made["spec"]["includedNamespaces"] == [ref.namespace]
    assert made["spec"]["snapshotVolumes"] is False
    assert made["spec"]["storageLocation"] == "default"

    runs.reset("run-1", "run-2")
    later = await store.claim(ref, run_of(ref, "run-2"), reports.first)
    anew: SafetyCreated = await Acting(run_of(ref, "run-2"))(verbs.create_safety_backup, request(ref, later, 1))
    assert (anew.number, anew.name) == (2, safety.backup_name(ref, 2))
    assert backups.names(operation) == [first.name, anew.name]


async def test_a_location_that_takes_nothing_now_is_said_before_velero_refuses(
    verbs: SafetyActivities,
    store: OperationStore,
    ref: OperationRef,
    locations: Reflector[StorageLocation],
    like: str,
    backups: VeleroBackups,
    operation: Json,
) -> None:
    default = locations.index[VELERO, "default"]
    locations.index[VELERO, "default"] = default.model_copy(update={"access_mode": "ReadOnly"})
    status = await store.claim(ref, run_of(ref), reports.first)
    with pytest.raises(Refused, match="Storage location default is ReadOnly"):
        await Acting(run_of(ref))(verbs.create_safety_backup, request(ref, status, 1))
    assert backups.of(operation) == []


async def test_a_stranger_under_its_name_is_refused(
    verbs: SafetyActivities,
    store: OperationStore,
    ref: OperationRef,
    kubectl: Kubectl,
    backups: VeleroBackups,
    like: str,
) -> None:
    name = safety.backup_name(ref, 1)
    kubectl.apply(
        {"apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": name, "namespace": VELERO}, "spec": {}}
    )
    try:
        status = await store.claim(ref, run_of(ref), reports.first)
        with pytest.raises(Refused, match="that this engine did not make"):
            await Acting(run_of(ref))(verbs.create_safety_backup, request(ref, status, 1))
    finally:
        backups.delete(name)
