"""The verbs on Velero: one Backup an attempt whatever crashes, waits that end with the event, downloads."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio
from support import reports
from support.acting import Acting, FaultyApi, run_of
from support.history import History
from support.kube import Kubectl, Operations
from support.movers import DATA_UPLOAD, POD_VOLUME_BACKUP, DataMovers
from support.velero_verbs import LABELS, Verbs
from support.world import VELERO, VeleroBackups

from activities import artefacts
from activities import following as followed_at
from activities.evidence import Evidence
from activities.requests import Created, CreateRequest, FollowRequest, StepRequest, VerifyRequest
from local_cluster.cluster import LocalCluster
from operation_engine.domain import identity
from operation_engine.domain.admission import Answer
from operation_engine.domain.identity import OperationRef
from operation_engine.domain.report import StatusReport
from operation_engine.domain.resources.operation_status import AttemptCause, OperationStatus
from operation_engine.domain.velero import (
    BackupObservation,
    observe_backup,
)
from operation_engine.domain.verdicts import BackupContents
from operation_engine.domain.volumes import VolumeWish
from operation_engine.records.operations import OperationStore
from operation_engine.runtime.kubernetes import (
    Refused,
    Unavailable,
)
from operation_engine.runtime.watching import ANY

WITHIN_S = 30.0


@pytest.fixture(scope="class")
def velero_stopped(cluster: LocalCluster) -> Iterator[None]:
    cluster.stop("velero")
    yield
    cluster.start("velero")


@pytest_asyncio.fixture
async def running(store: OperationStore, ref: OperationRef) -> StatusReport:
    """The report with which the first attempt begins."""
    status = await store.claim(ref, run_of(ref), reports.first)
    status = await store.write(ref, run_of(ref), reports.admitted(status))
    return reports.running(await store.write(ref, run_of(ref), reports.located(status)))


def first_attempt(ref: OperationRef, report: StatusReport) -> CreateRequest:
    return CreateRequest(ref=ref, report=report, after=0, cause=AttemptCause.INITIAL)


@pytest_asyncio.fixture
async def created(worker: Verbs, act: Acting, ref: OperationRef, running: StatusReport) -> Created:
    made: Created = await act(worker.velero.create_backup, first_attempt(ref, running))
    return made


@pytest.mark.usefixtures("velero_stopped")
class TestWhileNobodyWorksOnBackups:
    """Velero is stopped: a Backup says what the test writes into it."""

    async def test_a_creation_repeated_after_a_crash_makes_one_backup(
        self,
        worker: Verbs,
        act: Acting,
        ref: OperationRef,
        running: StatusReport,
        created: Created,
        backups: VeleroBackups,
        operation: dict[str, Any],
    ) -> None:
        again = await act(worker.velero.create_backup, first_attempt(ref, running))
        assert again == created
        assert [found["metadata"]["name"] for found in backups.of(operation)] == [created.name]

    async def test_an_intent_whose_backup_was_never_made_is_carried_out_under_its_name(
        self,
        worker: Verbs,
        act: Acting,
        store: OperationStore,
        ref: OperationRef,
        running: StatusReport,
        backups: VeleroBackups,
    ) -> None:
        status = await store.begin_attempt(ref, run_of(ref), running, 0, AttemptCause.INITIAL)
        made = await act(worker.velero.create_backup, first_attempt(ref, running))
        assert made.name == status.attempts[0].velero_name
        assert backups.get(made.name)["metadata"]["labels"]["ops.vworkspace.io/attempt"] == "1"

    @pytest.mark.parametrize("labels", [{}, {"ops.vworkspace.io/operation": "another"}], ids=["bare", "labelled"])
    async def test_a_backup_under_our_name_that_is_not_ours_is_refused(
        self,
        worker: Verbs,
        act: Acting,
        ref: OperationRef,
        running: StatusReport,
        kubectl: Kubectl,
        labels: dict[str, str],
    ) -> None:
        name = identity.velero_name(ref, identity.Role.MAIN, 1)
        metadata = {"name": name, "namespace": VELERO, "labels": labels}
        foreign = {"apiVersion": "velero.io/v1", "kind": "Backup", "metadata": metadata, "spec": {}}
        kubectl.apply(foreign)
        try:
            with pytest.raises(Refused, match="that this engine did not make"):
                await act(worker.velero.create_backup, first_attempt(ref, running))
        finally:
            kubectl("delete", "backups.velero.io", name, "-n", VELERO)

    async def test_following_ends_with_the_next_phase_and_with_the_deletion(
        self,
        worker: Verbs,
        act: Acting,
        ref: OperationRef,
        created: Created,
        backups: VeleroBackups,
    ) -> None:
        async def after(change: Callable[[], None], status: OperationStatus, seen: Any) -> Any:
            report = reports.created(status) if seen is None else reports.next_report(status, status)
            request = FollowRequest(ref=ref, report=report, name=created.name, seen=seen)
            following = asyncio.create_task(act(worker.velero.follow_backup, request))
            await asyncio.to_thread(change)
            async with asyncio.timeout(WITHIN_S):
                return await following

        new = await after(lambda: None, created.status, None)
        assert new.observation.phase == ""
        begun = await after(lambda: backups.say(created.name, phase="InProgress"), new.status, new.observation)
        assert begun.observation.phase == "InProgress"
        gone = await after(lambda: backups.delete(created.name), begun.status, begun.observation)
        assert gone.observation is None
        assert act.heartbeats, "a worker that follows says that it lives"

    async def test_progress_is_written_while_the_phase_stays(
        self,
        worker: Verbs,
        act: Acting,
        ref: OperationRef,
        created: Created,
        backups: VeleroBackups,
        operations: Operations,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(followed_at, "WRITE_PROGRESS_EVERY_S", 0.1)
        backups.say(created.name, phase="InProgress")
        seen = observe_backup(backups.get(created.name))
        request = FollowRequest(ref=ref, report=reports.created(created.status), name=created.name, seen=seen)
        following = asyncio.create_task(act(worker.velero.follow_backup, request))
        for done in (10, 5, 40):
            await asyncio.to_thread(
                backups.say, created.name, phase="InProgress", progress={"itemsBackedUp": done, "totalItems": 40}
            )
            await asyncio.sleep(0.3)
        percent = ("{.status.progress.percent}", "50")
        await asyncio.to_thread(operations.await_path, ref.namespace, ref.name, *percent, 20)
        await asyncio.to_thread(backups.say, created.name, phase="Completed")
        followed = await following
        assert followed.status.progress.percent == 50
        await asyncio.to_thread(backups.delete, created.name)

    async def test_progress_moves_with_the_bytes_of_every_mover_and_not_back(
        self,
        worker: Verbs,
        act: Acting,
        ref: OperationRef,
        created: Created,
        backups: VeleroBackups,
        kubectl: Kubectl,
        operations: Operations,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """All items are counted from the start; the movers' bytes are what there is to wait for."""
        monkeypatch.setattr(followed_at, "WRITE_PROGRESS_EVERY_S", 0.1)
        movers, backup = DataMovers(kubectl), backups.get(created.name)
        pod_volume, upload = (movers.make(kind, created.name, backup) for kind in (POD_VOLUME_BACKUP, DATA_UPLOAD))
        backups.say(created.name, phase="InProgress", progress={"itemsBackedUp": 40, "totalItems": 40})
        seen = observe_backup(backups.get(created.name))
        history = History(kubectl, ref.namespace)
        request = FollowRequest(ref=ref, report=reports.created(created.status), name=created.name, seen=seen)
        following = asyncio.create_task(act(worker.velero.follow_backup, request))
        for mover, done, total, told in (
            (pod_volume, 50, 100, "50"),
            (upload, 100, 300, "150"),
            (upload, 0, 300, "150"),
            (pod_volume, 100, 100, "150"),
            (upload, 300, 300, "400"),
        ):
            await asyncio.to_thread(movers.say, mover, "InProgress", done, total)
            path = ("{.status.progress.bytesDone}", told)
            await asyncio.to_thread(operations.await_path, ref.namespace, ref.name, *path, 20)
        await asyncio.to_thread(backups.say, created.name, phase="Finalizing")
        assert (await following).status.progress.bytes_total == 400
        shown = [status["progress"] for status in history.statuses(ref.name) if "progress" in status]
        for number in ("percent", "bytesDone", "bytesTotal"):
            values = [progress.get(number, 0) for progress in shown]
            assert values == sorted(values)
        assert shown[-1]["percent"] == 99
        for mover in (pod_volume, upload):
            movers.delete(mover)
        await asyncio.to_thread(backups.delete, created.name)

    async def test_bytes_are_written_at_most_every_two_seconds(
        self,
        worker: Verbs,
        act: Acting,
        ref: OperationRef,
        created: Created,
        backups: VeleroBackups,
        kubectl: Kubectl,
        api: FaultyApi,
    ) -> None:
        movers, backup = DataMovers(kubectl), backups.get(created.name)
        mover = movers.make(POD_VOLUME_BACKUP, created.name, backup)
        backups.say(created.name, phase="InProgress")
        seen = observe_backup(backups.get(created.name))
        request = FollowRequest(ref=ref, report=reports.created(created.status), name=created.name, seen=seen)
        following = asyncio.create_task(act(worker.velero.follow_backup, request))
        began, before, done = asyncio.get_running_loop().time(), api.status_writes, 0
        while (lasted := asyncio.get_running_loop().time() - began) < 5 or done < 12:
            done += 1
            await asyncio.to_thread(movers.say, mover, "InProgress", done, 1000)
        # One write enters the step; the numbers follow.
        assert 1 < api.status_writes - before <= 1 + lasted / followed_at.WRITE_PROGRESS_EVERY_S
        await asyncio.to_thread(backups.delete, created.name)
        movers.delete(mover)
        assert (await following).observation is None

    async def test_a_location_whose_words_change_all_the_time_is_waited_for_in_peace(
        self,
        worker: Verbs,
        act: Acting,
        ref: OperationRef,
        running: StatusReport,
        kubectl: Kubectl,
        api: FaultyApi,
    ) -> None:
        def say(phase: str, message: str) -> None:
            body = f'{{"status":{{"phase":"{phase}","message":"{message}"}}}}'
            kubectl("patch", "backupstoragelocations.velero.io/default", "-n", VELERO, "--type=merge", "-p", body)

        say("Unavailable", "request id 1" + " long" * 300)
        request = StepRequest(ref=ref, report=running)
        try:
            async with asyncio.timeout(WITHIN_S):
                answer = await act(worker.velero.check_storage_location, request)
                while answer.gate.answer != Answer.WAIT:
                    await worker.watches.locations.changed(ANY, 1.0)
                    answer = await act(worker.velero.check_storage_location, request)
            waited = StepRequest(ref=ref, report=reports.blocked(answer.status, answer.gate))
            waiting = asyncio.create_task(act(worker.velero.await_storage_location, waited))
            await asyncio.sleep(0.5)
            writes = api.status_writes
            for number in (2, 3, 4):
                await asyncio.to_thread(say, "Unavailable", f"request id {number}")
                await asyncio.sleep(0.2)
            assert not waiting.done()
            assert api.status_writes == writes
        finally:
            await asyncio.to_thread(say, "Available", "")
        async with asyncio.timeout(WITHIN_S):
            assert (await waiting).gate.answer == Answer.PASS

    async def test_an_observation_of_an_engine_that_did_not_look_for_volumes_is_completed(
        self,
        worker: Verbs,
        act: Acting,
        ref: OperationRef,
        created: Created,
        backups: VeleroBackups,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Its run goes on after an upgrade; where the Backup is gone, everything counts as asked for."""
        looked_at: list[BackupObservation] = []

        async def contents(self: Evidence, observation: BackupObservation, within_s: float) -> BackupContents:
            looked_at.append(observation)
            await asyncio.sleep(0)  # as reading does, so that there is a heartbeat
            return BackupContents()

        monkeypatch.setattr(Evidence, "contents", contents)
        old = observe_backup(backups.get(created.name)).model_copy(update={"volumes": None})
        request = VerifyRequest(ref=ref, report=reports.created(created.status), observation=old)
        await act(worker.velero.verify_backup, request)
        await asyncio.to_thread(backups.delete, created.name)
        await act(worker.velero.verify_backup, request)
        assert [observation.volumes for observation in looked_at] == [VolumeWish(), None]
        assert act.heartbeats

    async def test_a_velero_that_does_not_answer_is_unavailable_and_not_a_verdict(
        self, worker: Verbs, created: Created, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(artefacts, "PROCESSED_WITHIN_S", 1.0)
        with pytest.raises(Unavailable, match="did not answer DownloadRequest"):
            await worker.artefacts.read_json("BackupResourceList", created.name, None)


async def test_an_artefact_that_the_bucket_does_not_hold_is_none(
    worker: Verbs, kubectl: Kubectl, backups: VeleroBackups, namespace: str
) -> None:
    name = f"hollow-{namespace}"
    metadata = {"name": name, "namespace": VELERO, "labels": LABELS}
    status = {"phase": "Completed"}
    spec = {"storageLocation": "default"}
    kubectl.apply(
        {"apiVersion": "velero.io/v1", "kind": "Backup", "metadata": metadata, "spec": spec, "status": status}
    )
    try:
        async with asyncio.timeout(WITHIN_S):
            while (VELERO, "default") not in worker.watches.locations.index:
                await worker.watches.locations.changed((VELERO, "default"), 1.0)
        location = worker.watches.locations.index[VELERO, "default"]
        assert await worker.artefacts.read_json("BackupResourceList", name, location) is None
        assert await worker.artefacts.size("BackupContents", name, location) is None
    finally:
        backups.delete(name)
