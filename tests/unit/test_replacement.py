"""existingVolumes: Replace deletes what the backup can bring back, and nothing else."""

from typing import Any

import pytest
from support.values import NOW, later

from operation_engine.domain import replacement
from operation_engine.domain.admission import Answer
from operation_engine.domain.replacement import Claim, Owner, Replacement, User, observe_claim, observe_user
from operation_engine.domain.resources.operation_parameters import Parameters
from operation_engine.domain.resources.reasons import Reason
from operation_engine.domain.verdicts import VolumeResult


def volume(claim: str, **parts: Any) -> VolumeResult:
    return VolumeResult(
        **{"claim": claim, "namespace": "shop", "method": "PodVolumeBackup", "succeeded": True, **parts}
    )


def claim(name: str, **parts: Any) -> Claim:
    return Claim(**{"name": name, "uid": f"uid-{name}", "volume": f"pv-{name}", **parts})


def user(kind: str, name: str, owner: User | None = None, **parts: Any) -> User:
    owned = Owner(kind=owner.kind, name=owner.name, uid=owner.uid) if owner else None
    return User(**{"kind": kind, "name": name, "uid": f"uid-{kind}-{name}", "owner": owned, **parts})


WEB = user("Deployment", "web", claims=("data",))
WEB_SET = user("ReplicaSet", "web-1", WEB, claims=("data",))
WEB_POD = user("Pod", "web-1-a", WEB_SET, claims=("data",))
DB = user("StatefulSet", "db", claim_templates=("rows",))
DB_POD = user("Pod", "db-0", DB, claims=("rows-db-0",))
IDLE = user("Deployment", "idle")
CONTENTS = {
    "apps/v1/Deployment": ("shop/web", "shop/idle"),
    "apps/v1/StatefulSet": ("shop/db",),
    "v1/PersistentVolumeClaim": ("shop/data", "shop/rows-db-0", "shop/rows-db-1"),
    "v1/Pod": ("shop/bare",),
}


def plan(
    volumes: tuple[VolumeResult, ...] = (volume("data"), volume("rows-db-0")),
    claims: tuple[Claim, ...] = (claim("data"), claim("rows-db-0")),
    users: tuple[User, ...] = (WEB, WEB_SET, WEB_POD, DB, DB_POD, IDLE),
    **parameters: Any,
) -> Replacement:
    return replacement.plan("shop", volumes, CONTENTS, Parameters.model_validate(parameters), claims, users)


SAVED_THROUGH = volume("rows-db-0", pod="shop/db-0")


@pytest.mark.parametrize(
    ("volumes", "claims", "pods", "parameters"),
    [
        ((SAVED_THROUGH,), ("rows-db-0",), ("db-0",), {}),
        ((SAVED_THROUGH,), (), (), {}),
        ((SAVED_THROUGH,), ("another",), (), {}),
        ((volume("rows-db-0", pod="shop/db-0", succeeded=False),), ("rows-db-0",), (), {}),
        ((volume("rows-db-0", method="CSISnapshot"),), ("rows-db-0",), (), {}),
        ((volume("rows-db-0", pod="other/db-0", namespace="other"),), ("rows-db-0",), (), {}),
        ((SAVED_THROUGH,), ("rows-db-0",), (), {"excludedResources": ["pods"]}),
        ((SAVED_THROUGH,), ("rows-db-0",), (), {"includedResources": ["configmaps"]}),
    ],
)
def test_a_claim_that_velero_leaves_alone_is_kept(
    volumes: tuple[VolumeResult, ...], claims: tuple[str, ...], pods: tuple[str, ...], parameters: dict[str, Any]
) -> None:
    assert replacement.kept("shop", volumes, Parameters.model_validate(parameters), claims, pods).answer == Answer.PASS


@pytest.mark.parametrize("pods", [(), ("db-0-of-another-rollout",)])
def test_a_claim_that_velero_would_write_into_is_not_called_kept(pods: tuple[str, ...]) -> None:
    gate = replacement.kept("shop", (SAVED_THROUGH,), Parameters(), ("rows-db-0",), pods)
    assert (gate.answer, gate.reason) == (Answer.REFUSE, Reason.VALIDATION_FAILED)
    assert "would not keep rows-db-0 (pod db-0)" in gate.message


def test_the_claims_go_with_the_workloads_and_pods_that_use_them_and_nothing_else() -> None:
    found = plan()
    assert found.gate.answer == Answer.PASS
    assert [str(w) for w in found.workloads] == ["Deployment web", "StatefulSet db"]
    assert [str(p) for p in found.pods] == ["Pod web-1-a", "Pod db-0"]
    assert [c.name for c in found.claims] == ["data", "rows-db-0"]
    assert found.claims[0].uid == "uid-data"
    assert found.gate.message == "To be replaced: data, rows-db-0 with Deployment web, StatefulSet db."


@pytest.mark.parametrize(
    "kept",
    [
        volume("data", skipped=True),
        volume("data", succeeded=False),
        volume("data", namespace="till"),
        volume("other"),
    ],
)
def test_a_claim_without_data_in_the_backup_stays(kept: VolumeResult) -> None:
    found = plan(volumes=(kept,))
    assert found.gate.answer == Answer.PASS
    assert (found.claims, found.workloads, found.pods) == ((), (), ())
    assert "none to replace" in found.gate.message


def test_a_workload_that_is_scaled_down_goes_too_because_it_would_delete_the_pod_that_comes_back() -> None:
    found = plan(users=(WEB, DB))
    assert [w.name for w in found.workloads] == ["web", "db"]


def test_a_bare_pod_that_is_in_the_backup_goes() -> None:
    found = plan(volumes=(volume("data"),), users=(user("Pod", "bare", claims=("data",)),))
    assert [str(p) for p in found.pods] == ["Pod bare"]
    assert found.workloads == ()


OPERATOR = Owner(kind="Cluster", name="pg", uid="uid-pg")
TAKES_ALONG = user("StatefulSet", "db", claim_templates=("rows",), deletes_claims=True)
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a retained volume": (
        {"claims": (claim("data", is_retained=True),)},
        'kubectl patch persistentvolume pv-data -p \'{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}\'',
    ),
    "a pod that an operator runs": (
        {"users": (user("Pod", "pg-1", claims=("data",)).model_copy(update={"owner": OPERATOR}),)},
        "Pod pg-1 uses a volume that would be replaced and is run by Cluster pg",
    ),
    "a workload that an operator runs": (
        {"users": (DB.model_copy(update={"owner": OPERATOR}), DB_POD)},
        "StatefulSet db uses a volume that would be replaced and is run by Cluster pg",
    ),
    "a workload that is not in the backup": (
        {"users": (user("Deployment", "new", claims=("data",)),)},
        "would delete Deployment new",
    ),
    "a pod that is not in the backup": (
        {"users": (user("Pod", "new", claims=("data",)),)},
        "kubectl delete pod new",
    ),
    "a claim that is not in the list of the backup": (
        {"volumes": (volume("lost"),), "claims": (claim("lost"),), "users": ()},
        "would delete PersistentVolumeClaim lost",
    ),
    "a claim that goes along": (
        {"claims": (claim("rows-db-0"), claim("rows-db-1")), "users": (TAKES_ALONG,)},
        "PersistentVolumeClaim rows-db-1, of which the backup has no data",
    ),
    "a claim that its workload owns": (
        {"claims": (claim("rows-db-0"), claim("scratch", owners=(DB.uid,)))},
        "PersistentVolumeClaim scratch, of which the backup has no data (by its ownerReferences",
    ),
    "labels": ({"labelSelector": {"matchLabels": {"a": "b"}}}, "with labelSelector"),
    "no volumes wanted": ({"restorePVs": False}, "restorePVs: false"),
    "without claims": ({"excludedResources": ["pvc"]}, "without persistentvolumeclaims"),
    "without volumes": ({"excludedResources": ["persistentvolumes"]}, "without persistentvolumes"),
    "without pods": ({"excludedResources": ["Pods"]}, "without pods"),
    "without the workload": ({"excludedResources": ["deployments.apps"]}, "without deployments.apps"),
    "without anything": ({"excludedResources": ["*"]}, "without"),
    "only some kinds": (
        {"includedResources": ["pods", "persistentvolumeclaims", "persistentvolumes", "deploy"]},
        "without statefulsets.apps",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_could_not_come_back_is_refused_before_anything_is_touched(case: str) -> None:
    parts, says = REFUSED[case]
    found = plan(**parts)
    assert (found.gate.answer, found.gate.reason) == (Answer.REFUSE, Reason.VALIDATION_FAILED)
    assert says in found.gate.message
    assert (found.workloads, found.pods, found.claims) == ((), (), ())


@pytest.mark.parametrize(
    "parameters",
    [
        {"includedResources": ["*"]},
        {"includedResources": ["po", "pvc", "pv", "Deployment", "StatefulSets.apps"]},
        {"excludedResources": ["services", "ingresses.networking.k8s.io"]},
    ],
)
def test_a_selection_that_brings_all_of_it_back_is_fine(parameters: dict[str, Any]) -> None:
    assert plan(**parameters).gate.answer == Answer.PASS


def test_a_claim_goes_only_with_a_copy_in_the_safety_backup() -> None:
    planned = plan()
    kept = (volume("data"), volume("rows-db-0"))
    assert replacement.kept_safe(planned, "shop", "safety-1", kept, ()) == planned
    refused = replacement.kept_safe(planned, "shop", "safety-1", (volume("data"),), ())
    assert (refused.gate.answer, refused.gate.reason) == (Answer.REFUSE, Reason.SAFETY_BACKUP_FAILED)
    assert "would delete rows-db-0, and the safety backup safety-1 does not" in refused.gate.message
    assert (refused.workloads, refused.pods, refused.claims) == ((), (), ())
    elsewhere = tuple(v.model_copy(update={"namespace": "till"}) for v in kept)
    assert replacement.kept_safe(planned, "shop", "safety-1", elsewhere, ()).gate.answer == Answer.REFUSE
    skipped = tuple(v.model_copy(update={"skipped": True}) for v in kept)
    assert replacement.kept_safe(planned, "shop", "safety-1", skipped, ()).gate.answer == Answer.REFUSE


def test_what_an_earlier_attempt_brought_needs_no_copy() -> None:
    planned = plan()
    assert replacement.kept_safe(planned, "shop", "safety-1", (volume("data"),), ["rows-db-0"]) == planned


@pytest.mark.parametrize(
    ("restored_by", "created_at", "own"),
    [
        ("main-1", NOW, True),
        ("main-1", later(-1), False),
        ("another", NOW, False),
        (None, NOW, False),
        ("main-1", None, False),
    ],
)
def test_a_claim_that_velero_merely_labelled_is_not_an_attempt_s_own(
    restored_by: str | None, created_at: Any, own: bool
) -> None:
    assert claim("data", restored_by=restored_by, created_at=created_at).came_with(["main-1"], NOW) == own


@pytest.mark.parametrize(
    ("name", "made"), [("rows-db-0", True), ("rows-db-12", True), ("rows-db-x", False), ("rows-dbx-0", False)]
)
def test_a_statefulset_s_claims_are_known_by_their_names(name: str, made: bool) -> None:
    assert DB.uses(name) == made


def pod_spec(*claims: str) -> dict[str, Any]:
    return {"volumes": [{"name": c, "persistentVolumeClaim": {"claimName": c}} for c in claims] + [{"name": "tmp"}]}


def test_users_are_read_from_pods_and_templates() -> None:
    owner = {"kind": "Job", "name": "j", "uid": "uid-j", "controller": True}
    meta = {"name": "x", "uid": "u", "ownerReferences": [{"kind": "Note", "name": "n", "uid": "n"}, owner]}
    pod = observe_user("Pod", {"metadata": meta, "spec": pod_spec("a", "b")})
    assert pod is not None
    assert (pod.claims, pod.owner) == (("a", "b"), Owner(kind="Job", name="j", uid="uid-j"))
    template = {"template": {"spec": pod_spec("a")}}
    bare = {"name": "x", "uid": "u"}
    for kind, spec in {"Deployment": template, "CronJob": {"jobTemplate": {"spec": template}}}.items():
        found = observe_user(kind, {"metadata": bare, "spec": spec})
        assert found is not None
        assert (found.claims, found.owner) == (("a",), None)
    retention = {"whenDeleted": "Delete"}
    spec = {"volumeClaimTemplates": [{"metadata": {"name": "rows"}}], "persistentVolumeClaimRetentionPolicy": retention}
    stateful = observe_user("StatefulSet", {"metadata": bare, "spec": spec})
    assert stateful is not None
    assert (stateful.claim_templates, stateful.deletes_claims) == (("rows",), True)
    scratch = {"volumes": [{"name": "scratch", "ephemeral": {}}]}
    ephemeral = observe_user("Pod", {"metadata": bare, "spec": scratch})
    assert ephemeral is not None
    assert ephemeral.claims == ("x-scratch",)


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_has_ended_holds_no_claim(phase: str) -> None:
    manifest = {"metadata": {"name": "x", "uid": "u"}, "spec": pod_spec("a"), "status": {"phase": phase}}
    assert observe_user("Pod", manifest) is None


@pytest.mark.parametrize(("policy", "retained"), [("Retain", True), ("Delete", False)])
def test_a_claim_knows_whether_its_volume_would_be_retained(policy: str, retained: bool) -> None:
    manifest = {"metadata": {"name": "data", "uid": "u"}, "spec": {"volumeName": "pv-1"}}
    assert observe_claim(manifest, {"pv-1": policy, "pv-2": "Retain"}).is_retained == retained
    assert not observe_claim({"metadata": {"name": "data", "uid": "u"}}, {"": "Delete"}).is_retained


def test_a_claim_knows_who_takes_it_along_and_who_restored_it() -> None:
    meta = {"name": "data", "uid": "u", "ownerReferences": [{"kind": "StatefulSet", "name": "db", "uid": "uid-db"}]}
    labels = {"velero.io/restore-name": "main-1"}
    found = observe_claim({"metadata": meta | {"labels": labels, "creationTimestamp": "2026-03-01T12:00:00Z"}}, {})
    assert (found.owners, found.restored_by, found.created_at) == (("uid-db",), "main-1", NOW)
