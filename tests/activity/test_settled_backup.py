"""The very backup that a Restore settled on is found again by its later attempts, and no namesake of it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio
from support import reports
from support.acting import Acting, run_of
from support.kube import Kubectl, Operations, restore
from support.velero_verbs import CLUSTER, Verbs
from support.world import VELERO, VeleroBackups

from activities.requests import (
    FoundBackup,
    RestoreVerified,
    StepRequest,
    VerifyRestoreRequest,
)
from local_cluster.cluster import LocalCluster
from operation_engine.domain import identity, pinned
from operation_engine.domain.admission import Answer
from operation_engine.domain.identity import OperationRef
from operation_engine.domain.resources.operation_status import OperationStatus
from operation_engine.domain.velero import observe_restore
from operation_engine.records.operations import OperationStore

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


@pytest.fixture
def back_up(kubectl: Kubectl, backups: VeleroBackups, namespace: str, backup_name: str) -> Iterator[Callable[..., Any]]:
    """A Velero Backup of that name, as Velero leaves one; in the place of any that was there."""

    def remove() -> None:
        kubectl("delete", "backups.velero.io", backup_name, "-n", VELERO, "--ignore-not-found")

    def make(begun: str = BEGUN) -> None:
        remove()
        metadata = {"name": backup_name, "namespace": VELERO, "labels": {identity.CLUSTER_ID_LABEL: CLUSTER}}
        spec = {"includedNamespaces": [namespace], "storageLocation": "default"}
        status = {"phase": "Completed", "startTimestamp": begun}
        kubectl.apply(
            {"apiVersion": "velero.io/v1", "kind": "Backup", "metadata": metadata, "spec": spec, "status": status}
        )

    make()
    make.remove = remove  # type: ignore[attr-defined]
    yield make
    remove()


async def found(worker: Verbs, act: Acting, ref: OperationRef, status: OperationStatus) -> FoundBackup:
    """What the gate says now; where it passes, the status that comes has settled on that backup."""
    request = StepRequest(ref=ref, report=reports.next_report(status, status))
    answer: FoundBackup = await act(worker.restores.find_backup, request)
    if answer.gate.answer != Answer.PASS or answer.backup is None:
        return answer
    settled = answer.status.model_copy(update={"outputs": pinned.pin(answer.status.outputs, answer.backup)})
    return answer.model_copy(update={"status": settled})


class TestTheBackupThatWasSettledOn:
    """A later attempt restores that very one."""

    async def test_is_found_again(
        self, worker: Verbs, act: Acting, ref: OperationRef, claimed: OperationStatus, back_up: Any
    ) -> None:
        first = await found(worker, act, ref, claimed)
        again = await found(worker, act, ref, first.status)
        assert again.gate.answer == Answer.PASS, again.gate.message
        assert again.backup == first.backup

    async def test_is_known_again_when_velero_synced_it_from_the_bucket(
        self, worker: Verbs, act: Acting, ref: OperationRef, claimed: OperationStatus, back_up: Any
    ) -> None:
        first = await found(worker, act, ref, claimed)
        back_up(BEGUN)
        again = await found(worker, act, ref, first.status)
        assert again.gate.answer == Answer.PASS, again.gate.message
        assert first.backup is not None
        assert again.backup is not None
        assert first.backup.uid != again.backup.uid

    async def test_is_not_replaced_by_one_that_was_made_anew_under_its_name(
        self, worker: Verbs, act: Acting, ref: OperationRef, claimed: OperationStatus, back_up: Any, backup_name: str
    ) -> None:
        first = await found(worker, act, ref, claimed)
        back_up(LATER)
        again = await found(worker, act, ref, first.status)
        assert (again.gate.answer, again.gate.reason) == (Answer.REFUSE, "BackupNotUsable")
        message = again.gate.message
        assert f"Velero Backup {backup_name} is not the one that this Operation settled on (begun {BEGUN}" in message
        assert f"was deleted and made anew under its name (begun {LATER}" in message

    async def test_is_not_replaced_by_another_where_it_is_gone(
        self, worker: Verbs, act: Acting, ref: OperationRef, claimed: OperationStatus, back_up: Any
    ) -> None:
        first = await found(worker, act, ref, claimed)
        back_up.remove()
        again = await found(worker, act, ref, first.status)
        assert (again.gate.answer, again.gate.reason) == (Answer.REFUSE, "BackupNotFound")
        assert "is gone: it expired, or somebody deleted it" in again.gate.message
        assert "Velero brings it back within about a minute: then retry" in again.gate.message

    async def test_is_the_one_that_was_restored_or_nothing_is_verified(
        self, worker: Verbs, act: Acting, ref: OperationRef, claimed: OperationStatus, back_up: Any, backup_name: str
    ) -> None:
        """A Restore may have waited in Velero's queue while its backup was replaced."""
        first = await found(worker, act, ref, claimed)
        back_up(LATER)
        done = {"metadata": {"name": "r", "uid": "u"}, "spec": {"backupName": backup_name}, "status": {}}
        request = VerifyRestoreRequest(
            ref=ref,
            report=reports.next_report(first.status, first.status),
            observation=observe_restore(done),
            backup_name=backup_name,
            source=ref.namespace,
        )
        verified: RestoreVerified = await act(worker.restores.verify_contents, request)
        assert (verified.verdict.outcome, verified.verdict.reason) == ("failed", "BackupNotUsable")
        assert verified.verdict.message.startswith("Nobody can say which backup was restored.")
