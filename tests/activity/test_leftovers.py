"""What a failed attempt created goes, and nothing else: by the Restore's list, its label, its age and its namespace."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_asyncio
from support import reports
from support.acting import Acting, run_of
from support.bucket import Bucket
from support.kube import Kubectl, Operations, restore
from support.velero_verbs import CLUSTER, Verbs
from support.world import VELERO, VeleroRestores, config_map, fresh_namespace

from activities import following, removing
from activities.requests import CleanedUp, LeftoversRequest
from local_cluster.cluster import LocalCluster
from operation_engine.domain import identity
from operation_engine.domain.identity import OperationRef
from operation_engine.domain.resources.operation_status import AttemptCause
from operation_engine.records.operations import OperationStore

Json = dict[str, Any]
WITHIN_S = 30.0
HOLD = "example.com/hold"


@pytest.fixture(params=[{}])
def operation(request: pytest.FixtureRequest, kubectl: Kubectl, operations: Operations, namespace: str) -> Json:
    kubectl.apply(restore(namespace, f"of-{namespace}", parameters={"cleanup": "DeleteRestored", **request.param}))
    return operations.get(namespace, "restore")


@pytest_asyncio.fixture
async def request_(store: OperationStore, ref: OperationRef) -> LeftoversRequest:
    """To clean up after the first attempt."""
    status = await store.claim(ref, run_of(ref), reports.first)
    status = await store.begin_attempt(ref, run_of(ref), reports.running(status), 0, AttemptCause.INITIAL)
    return LeftoversRequest(
        ref=ref,
        report=reports.next_report(status, status),
        names=(status.attempts[0].velero_name or "",),
        destination=ref.namespace,
        backup_name=f"of-{ref.namespace}",
    )


class Attempt:
    """A Velero Restore that has ended, with the list of what it did."""

    def __init__(self, kubectl: Kubectl, bucket: Bucket, ref: OperationRef, name: str) -> None:
        self._kubectl, self._bucket, self._ref, self.name = kubectl, bucket, ref, name

    def object(self, name: str, *, labelled: bool = True, namespace: str = "", **meta: Any) -> None:
        labels = {"velero.io/restore-name": self.name} if labelled else {}
        manifest = config_map(namespace or self._ref.namespace, name, **labels)
        manifest["metadata"] |= meta
        self._kubectl.apply(manifest)

    def made(self) -> None:
        """The Restore, and its backup, as Velero leaves them; younger by a tick of the API server's clock."""
        time.sleep(1.1)
        whose = {identity.OPERATION_LABEL: self._ref.uid, identity.CLUSTER_ID_LABEL: CLUSTER}
        backup = f"of-{self._ref.namespace}"
        specs = {
            "Backup": (backup, {"storageLocation": "default", "includedNamespaces": [self._ref.namespace]}),
            "Restore": (self.name, {"backupName": backup}),
        }
        for kind, (name, spec) in specs.items():
            metadata = {"name": name, "namespace": VELERO, "labels": whose}
            ended = {"metadata": metadata, "spec": spec, "status": {"phase": "Completed"}}
            self._kubectl.apply({"apiVersion": "velero.io/v1", "kind": kind, **ended})

    def listed(self, *items: str) -> None:
        self._bucket.put_restore(self.name, "resource-list.json.gz", {"v1/ConfigMap": list(items)})


@pytest.fixture
def attempt(
    kubectl: Kubectl, cluster: LocalCluster, ref: OperationRef, request_: LeftoversRequest, restores: VeleroRestores
) -> Iterator[Attempt]:
    yield Attempt(kubectl, Bucket(cluster.env()), ref, request_.names[0])
    for kind, name in (("backups", f"of-{ref.namespace}"), ("restores", request_.names[0])):
        kubectl("delete", f"{kind}.velero.io", name, "-n", VELERO, "--ignore-not-found", "--wait=false")


def left(kubectl: Kubectl, namespace: str) -> set[str]:
    found = kubectl.json("get", "configmaps", "-n", namespace)["items"]
    return {item["metadata"]["name"] for item in found} - {"kube-root-ca.crt"}


async def test_only_what_the_attempt_created_there_goes(
    worker: Verbs, act: Acting, attempt: Attempt, request_: LeftoversRequest, kubectl: Kubectl, ref: OperationRef
) -> None:
    here = ref.namespace
    with fresh_namespace(kubectl) as elsewhere:
        attempt.object("older")
        attempt.made()
        attempt.object("created")
        attempt.object("updated")
        attempt.object("made-anew", labelled=False)
        attempt.object("neighbour", namespace=elsewhere)
        attempt.listed(
            f"{here}/older(created)",
            f"{here}/created(created)",
            f"{here}/updated(updated)",
            f"{here}/made-anew(created)",
            f"{elsewhere}/neighbour(created)",
        )
        cleaned: CleanedUp = await act(worker.leftovers.delete_leftovers, request_)
        assert cleaned.message == "Deleted what the attempt before created: ConfigMap created."
        assert left(kubectl, here) == {"older", "updated", "made-anew"}
        assert left(kubectl, elsewhere) == {"neighbour"}


@pytest.mark.parametrize("operation", [{"existingResourcePolicy": "update"}], indirect=True)
async def test_without_a_list_nothing_goes_where_the_label_proves_nothing_and_that_is_said(
    worker: Verbs, act: Acting, attempt: Attempt, request_: LeftoversRequest, kubectl: Kubectl, ref: OperationRef
) -> None:
    attempt.made()
    attempt.object("created")
    cleaned: CleanedUp = await act(worker.leftovers.delete_leftovers, request_)
    assert f"Nothing deleted of Velero Restore {attempt.name}: its resource list cannot be read" in cleaned.message
    assert left(kubectl, ref.namespace) == {"created"}


async def test_without_a_list_label_and_age_tell_what_goes_and_that_is_said(
    worker: Verbs, act: Acting, attempt: Attempt, request_: LeftoversRequest, kubectl: Kubectl, ref: OperationRef
) -> None:
    attempt.object("older")
    attempt.made()
    attempt.object("created")
    attempt.object("made-anew", labelled=False)
    cleaned: CleanedUp = await act(worker.leftovers.delete_leftovers, request_)
    assert f"Velero Restore {attempt.name} never wrote its list" in cleaned.message
    assert left(kubectl, ref.namespace) == {"older", "made-anew"}


async def test_what_a_finalizer_holds_is_waited_for_and_named(
    worker: Verbs,
    act: Acting,
    attempt: Attempt,
    request_: LeftoversRequest,
    kubectl: Kubectl,
    operations: Operations,
    ref: OperationRef,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following, "TELL_EVERY_S", 0.1)
    monkeypatch.setattr(removing, "LOOK_EVERY_S", 0.2)
    attempt.made()
    attempt.object("held", finalizers=[HOLD])
    attempt.listed(f"{ref.namespace}/held(created)")
    cleaning = asyncio.create_task(act(worker.leftovers.delete_leftovers, request_))
    try:
        waiting = f"Waiting until ConfigMap held (held by {HOLD}) is gone."
        told = ("{.status.message}", waiting)
        await asyncio.to_thread(operations.await_path, ref.namespace, ref.name, *told, int(WITHIN_S))
        assert not cleaning.done()
        assert act.heartbeats[-1] == (waiting,), "and a timeout can say it"
    finally:
        patch = '{"metadata":{"finalizers":null}}'
        await asyncio.to_thread(kubectl, "patch", "configmap", "held", "-n", ref.namespace, "--type=merge", "-p", patch)
    cleaned: CleanedUp = await asyncio.wait_for(cleaning, WITHIN_S)
    assert cleaned.message == "Deleted what the attempt before created: ConfigMap held."
    assert cleaned.status.message == waiting, "the status as it stands"
