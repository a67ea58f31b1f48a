"""What a destination holds, and volumes that make room for a backup's: on a real API server and a real bucket."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from support import reports
from support.acting import Acting, FaultyApi, run_of
from support.bucket import Bucket
from support.kube import Kubectl, Operations, restore
from support.world import VELERO, VeleroBackups, config_map, secret

from activities import removing
from activities.artefacts import Artefacts, observe_download
from activities.safeguard_requests import (
    DeleteRequest,
    DestinationRequest,
    ReplacementAnswer,
    ReplacementRequest,
    Survey,
)
from activities.workloads import WorkloadActivities
from local_cluster.cluster import LocalCluster
from operation_engine.domain import identity
from operation_engine.domain.admission import PASS, Answer
from operation_engine.domain.identity import OperationRef
from operation_engine.domain.replacement import Doomed, Replacement
from operation_engine.domain.resources.operation_status import AttemptCause
from operation_engine.domain.velero import observe_storage_location
from operation_engine.records.operations import OperationStore
from operation_engine.runtime.kubernetes import BACKUP_STORAGE_LOCATIONS, DOWNLOAD_REQUESTS
from operation_engine.runtime.watching import Reflector

CLUSTER = "a-cluster"
LABELS = {identity.MANAGED_BY_LABEL: identity.MANAGED_BY, identity.CLUSTER_ID_LABEL: CLUSTER}
Json = dict[str, Any]


@pytest_asyncio.fixture
async def verbs(api: FaultyApi, store: OperationStore) -> AsyncIterator[WorkloadActivities]:
    selector = ",".join(f"{key}={value}" for key, value in LABELS.items())
    downloads = Reflector(api, DOWNLOAD_REQUESTS, observe_download, namespace=VELERO, selector=selector)
    locations = Reflector(api, BACKUP_STORAGE_LOCATIONS, observe_storage_location, namespace=VELERO)
    async with downloads.running(), locations.running(), aiohttp.ClientSession() as session:
        await asyncio.wait_for(locations.synced.wait(), 30)
        reader = Artefacts(api, downloads, session, VELERO, LABELS)
        yield WorkloadActivities(api, store, reader, locations, VELERO)


@pytest.fixture
def operation(kubectl: Kubectl, operations: Operations, namespace: str) -> Json:
    kubectl.apply(restore(namespace, f"of-{namespace}", parameters={"existingVolumes": "Replace"}))
    return operations.get(namespace, "restore")


@pytest_asyncio.fixture
async def about(store: OperationStore, ref: OperationRef) -> Json:
    """What every request about the destination says."""
    report = reports.admitted(await store.claim(ref, run_of(ref), reports.first))
    return {"ref": ref, "report": report, "source": ref.namespace, "destination": ref.namespace}


@pytest.fixture
def volumes(kubectl: Kubectl, namespace: str, tmp_path: Path) -> Iterator[None]:
    """Two bound claims: `data`, which a Deployment mounts, and `other`; and what they leave behind taken away."""
    for claim in ("data", "other"):
        kubectl.apply(*bound_claim(namespace, claim))
        kubectl("wait", "pvc", claim, "-n", namespace, "--for=jsonpath={.status.phase}=Bound", "--timeout=60s")
    kubectl.apply(deployment(namespace, "web", "data"), deployment(namespace, "idle", "other"))
    kubectl("rollout", "status", "deployment", "web", "-n", namespace, "--timeout=60s")
    yield
    for claim in ("data", "other"):
        kubectl("delete", "pv", f"{namespace}-{claim}", "--wait=false", "--ignore-not-found")


def bound_claim(namespace: str, name: str, policy: str = "Recycle") -> tuple[Json, Json]:
    """A claim and the volume that it binds to; nobody mounts it for real."""
    volume, size = f"{namespace}-{name}", {"storage": "1Mi"}
    nfs = {"server": "127.0.0.1", "path": "/nowhere"}
    spec = {"capacity": size, "accessModes": ["ReadWriteOnce"], "persistentVolumeReclaimPolicy": policy, "nfs": nfs}
    spec["storageClassName"] = "manual"
    wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": size}, "volumeName": volume}
    meta = {"namespace": namespace, "name": name}
    return (
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume}, "spec": spec},
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": meta,
            "spec": {**wanted, "storageClassName": "manual"},
        },
    )


def deployment(namespace: str, name: str, claim: str) -> Json:
    labels = {"app": name}
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]
    container = {"name": "c", "image": "busybox", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container], "volumes": volumes}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    meta = {"namespace": namespace, "name": name}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}


Save = Callable[..., str]


@pytest.fixture
def save(cluster: LocalCluster, kubectl: Kubectl, backups: VeleroBackups, namespace: str) -> Iterator[Save]:
    """Velero Backups whose lists in the bucket say what a test wants: of kwok's volumes Velero takes no data."""
    made: list[str] = []

    def saved(name: str, *claims: str) -> str:
        metadata = {"name": name, "namespace": VELERO, "labels": LABELS}
        spec, status = {"storageLocation": "default", "includedNamespaces": [namespace]}, {"phase": "Completed"}
        kubectl.apply(
            {"apiVersion": "velero.io/v1", "kind": "Backup", "metadata": metadata, "spec": spec, "status": status}
        )
        made.append(name)
        volume = {"pvcNamespace": namespace, "backupMethod": "PodVolumeBackup", "result": "succeeded"}
        contents = {
            "v1/PersistentVolumeClaim": [f"{namespace}/data", f"{namespace}/other"],
            "apps/v1/Deployment": [f"{namespace}/web"],
        }
        bucket = Bucket(cluster.env())
        bucket.put(name, "volumeinfo.json.gz", [{"pvcName": claim, **volume} for claim in claims])
        bucket.put(name, "resource-list.json.gz", contents)
        return name

    yield saved
    for name in made:
        backups.delete(name)


@pytest.fixture
def saved(cluster: LocalCluster, save: Save, namespace: str) -> Bucket:
    """The backup that is restored, with the data of claim `data`."""
    save(f"of-{namespace}", "data")
    return Bucket(cluster.env())


def left(kubectl: Kubectl, namespace: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for item in kubectl.json("get", "deployments,pods,pvc", "-n", namespace)["items"]:
        found.setdefault(item["kind"], []).append(item["metadata"]["name"])
    return found


async def test_a_namespace_with_nothing_of_its_own_needs_no_backup_first(
    verbs: WorkloadActivities, act: Acting, about: Json
) -> None:
    survey: Survey = await act(verbs.survey_destination, DestinationRequest(**about))
    assert survey.holdings.is_empty, str(survey.holdings)
    assert not survey.is_wanted


@pytest.mark.parametrize("kind", ["config map", "secret", "claim", "pod"])
async def test_what_could_be_lost_is_backed_up_first(
    verbs: WorkloadActivities, act: Acting, about: Json, kubectl: Kubectl, namespace: str, kind: str
) -> None:
    pod = {"containers": [{"name": "c", "image": "busybox"}]}
    meta = {"namespace": namespace, "name": "x"}
    manifests = {
        "config map": config_map(namespace, "x"),
        "secret": secret(namespace, "x"),
        "claim": bound_claim(namespace, "x")[1],
        "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": pod},
    }
    kubectl.apply(manifests[kind])
    survey: Survey = await act(verbs.survey_destination, DestinationRequest(**about))
    assert survey.is_wanted
    assert sum(survey.holdings.counts.values()) == 1


@pytest.mark.usefixtures("volumes", "saved")
async def test_what_is_in_the_way_of_the_backup_s_volumes_goes_and_nothing_else(
    verbs: WorkloadActivities, act: Acting, about: Json, kubectl: Kubectl, ref: OperationRef, namespace: str
) -> None:
    answer: ReplacementAnswer = await act(
        verbs.plan_replacement, ReplacementRequest(**about, backup_name=f"of-{namespace}")
    )
    assert answer.gate.answer == Answer.PASS, answer.gate.message
    assert [str(w) for w in answer.replacement.workloads] == ["Deployment web"]
    assert [c.name for c in answer.replacement.claims] == ["data"]

    report = reports.next_report(answer.status, answer.status)
    request = DeleteRequest(ref=ref, report=report, namespace=namespace, replacement=answer.replacement)
    async with asyncio.timeout(60):
        await act(verbs.delete_replaced, request)
    remaining = left(kubectl, namespace)
    assert remaining["Deployment"] == ["idle"]
    assert remaining["PersistentVolumeClaim"] == ["other"]
    assert [name[:4] for name in remaining["Pod"]] == ["idle"]

    kubectl.apply(deployment(namespace, "web", "data"), bound_claim(namespace, "data")[1])
    async with asyncio.timeout(60):
        await act(verbs.delete_replaced, request)
    remaining = left(kubectl, namespace)
    assert sorted(remaining["Deployment"]) == ["idle", "web"], "what came back since is never deleted by an old plan"
    assert sorted(remaining["PersistentVolumeClaim"]) == ["data", "other"]


@pytest.mark.usefixtures("volumes", "saved")
@pytest.mark.parametrize(("claims", "goes"), [(("data", "other"), True), (("other",), False), ((), False)])
async def test_no_claim_goes_that_the_safety_backup_does_not_hold(
    verbs: WorkloadActivities,
    act: Acting,
    about: Json,
    save: Save,
    store: OperationStore,
    namespace: str,
    claims: tuple[str, ...],
    goes: bool,
) -> None:
    saved_as = save(f"safety-{namespace}", *claims)
    begun = await store.begin_attempt(about["ref"], run_of(about["ref"]), about["report"], 0, AttemptCause.INITIAL)
    parts = {**about, "report": reports.next_report(begun, begun)}
    request = ReplacementRequest(**parts, backup_name=f"of-{namespace}", saved_as=saved_as)
    answer: ReplacementAnswer = await act(verbs.plan_replacement, request)
    assert [claim.name for claim in answer.replacement.claims] == (["data"] if goes else [])
    assert answer.gate.reason == (None if goes else "SafetyBackupFailed")


@pytest.mark.usefixtures("volumes", "saved")
async def test_a_retained_volume_is_refused_before_anything_is_touched(
    verbs: WorkloadActivities, act: Acting, about: Json, kubectl: Kubectl, namespace: str
) -> None:
    body = json.dumps({"spec": {"persistentVolumeReclaimPolicy": "Retain"}})
    kubectl("patch", "pv", f"{namespace}-data", "-p", body)
    answer: ReplacementAnswer = await act(
        verbs.plan_replacement, ReplacementRequest(**about, backup_name=f"of-{namespace}")
    )
    assert (answer.gate.answer, answer.gate.reason) == (Answer.REFUSE, "ValidationFailed")
    assert f"kubectl patch persistentvolume {namespace}-data" in answer.gate.message


@pytest.mark.usefixtures("volumes")
async def test_a_list_that_is_lost_replaces_nothing(
    verbs: WorkloadActivities, act: Acting, about: Json, saved: Bucket, namespace: str
) -> None:
    saved.remove(f"of-{namespace}", "volumeinfo.json.gz")
    answer: ReplacementAnswer = await act(
        verbs.plan_replacement, ReplacementRequest(**about, backup_name=f"of-{namespace}")
    )
    assert answer.gate.answer == Answer.REFUSE
    assert answer.replacement.claims == ()


async def test_it_waits_for_what_takes_its_time_to_go(
    verbs: WorkloadActivities,
    act: Acting,
    about: Json,
    kubectl: Kubectl,
    ref: OperationRef,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(removing, "LOOK_EVERY_S", 0.1)
    claim = bound_claim(namespace, "slow")[1]
    claim["metadata"]["finalizers"] = ["test.vworkspace.io/held"]
    kubectl.apply(claim)
    uid = kubectl.json("get", "pvc", "slow", "-n", namespace)["metadata"]["uid"]
    planned = Replacement(
        gate=PASS,
        claims=(Doomed(kind="PersistentVolumeClaim", name="slow", uid=uid),),
    )
    request = DeleteRequest(ref=ref, report=about["report"], namespace=namespace, replacement=planned)
    deleting = asyncio.create_task(act(verbs.delete_replaced, request))
    await act.beat.wait()
    assert not deleting.done()
    assert act.heartbeats[-1] == ("PersistentVolumeClaim slow",)
    free = json.dumps({"metadata": {"finalizers": None}})
    await asyncio.to_thread(kubectl, "patch", "pvc", "slow", "-n", namespace, "--type=merge", "-p", free)
    async with asyncio.timeout(30):
        await deleting


async def test_a_workload_that_is_only_scaled_down_deletes_the_pod_that_comes_back(
    kubectl: Kubectl, namespace: str
) -> None:
    """Why workloads are deleted and not scaled to zero: Velero fills a volume through the pod that it restores."""
    labels, meta = {"app": "db"}, {"namespace": namespace, "name": "db"}
    pod = {"containers": [{"name": "c", "image": "busybox"}]}
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec = {"replicas": 0, "serviceName": "db", "selector": {"matchLabels": labels}, "template": template}
    restored = {"namespace": namespace, "name": "db-0", "labels": labels}
    kubectl.apply({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": meta, "spec": spec})
    kubectl.apply({"apiVersion": "v1", "kind": "Pod", "metadata": restored, "spec": pod})
    kubectl("wait", "pod", "db-0", "-n", namespace, "--for=delete", "--timeout=30s")
