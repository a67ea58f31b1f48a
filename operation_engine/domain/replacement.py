"""`existingVolumes: Replace`: what has to go before volumes can come back from a backup. Pure.

Velero fills a claim from a file-system backup only through the pod that it
restores with it. A controller that stays behind, scaled down, would take that pod for its own and delete it: so the
workloads that use the claims are deleted with them, and come back from the same backup. Whatever the backup could not
bring back is refused before anything is touched.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from operation_engine.domain.admission import PASS, Answer, Gate, refuse
from operation_engine.domain.identity import VELERO_RESTORE_LABEL, label_value
from operation_engine.domain.resources.common import ApiModel
from operation_engine.domain.resources.operation_parameters import Parameters
from operation_engine.domain.resources.reasons import Reason
from operation_engine.domain.volumes import VolumeResult

PLURALS = {
    "Deployment": "deployments.apps",
    "StatefulSet": "statefulsets.apps",
    "DaemonSet": "daemonsets.apps",
    "ReplicaSet": "replicasets.apps",
    "Job": "jobs.batch",
    "CronJob": "cronjobs.batch",
    "Pod": "pods",
    "PersistentVolumeClaim": "persistentvolumeclaims",
    "PersistentVolume": "persistentvolumes",
}
"""The kinds that are looked at and deleted, by the names that Velero's filters take."""
_ENDED_PODS = ("Succeeded", "Failed")
_THROUGH_A_POD = "PodVolumeBackup"
MAX_NAMED = 5
_FIELD = "spec.parameters.existingVolumes: Replace"


class Owner(ApiModel):
    """The controller of an object."""

    kind: str
    name: str
    uid: str


class Claim(ApiModel):
    """A PersistentVolumeClaim of the destination, with what happens to its volume when it goes."""

    name: str
    uid: str
    volume: str | None = None
    is_retained: bool = False
    owners: tuple[str, ...] = ()
    """uids of what takes it along when it goes."""
    restored_by: str | None = None
    """The Velero Restore that touched it last."""
    created_at: datetime | None = None

    def came_with(self, restores: Collection[str], since: datetime | None) -> bool:
        """Whether one of these Restores made it: Velero labels what it merely updated, too, but that is older."""
        is_young = self.created_at is not None and since is not None and self.created_at >= since
        return is_young and self.restored_by in {label_value(name) for name in restores}


class User(ApiModel):
    """A pod or a workload, with the claims that it (or its template) names."""

    kind: str
    name: str
    uid: str
    owner: Owner | None = None
    claims: tuple[str, ...] = ()
    claim_templates: tuple[str, ...] = ()
    """Of a StatefulSet: its claims are called `<template>-<name>-<ordinal>`."""
    deletes_claims: bool = False
    """A StatefulSet whose claims go when it goes (persistentVolumeClaimRetentionPolicy)."""

    def uses(self, claim: str) -> bool:
        return claim in self.claims or self.made(claim)

    def made(self, claim: str) -> bool:
        """Whether the claim comes from a template of this StatefulSet."""
        for template in self.claim_templates:
            head, _, ordinal = claim.rpartition("-")
            if head == f"{template}-{self.name}" and ordinal.isdigit():
                return True
        return False

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class Doomed(ApiModel):
    """An object that goes: this very one, and never a namesake that came after it."""

    kind: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class Replacement(ApiModel):
    """What is deleted, workloads first; or why nothing may be."""

    gate: Gate
    workloads: tuple[Doomed, ...] = ()
    pods: tuple[Doomed, ...] = ()
    claims: tuple[Doomed, ...] = ()


def plan(
    source: str,
    volumes: Iterable[VolumeResult],
    contents: Mapping[str, Sequence[str]],
    parameters: Parameters,
    claims: Sequence[Claim],
    users: Sequence[User],
) -> Replacement:
    """What has to go so that the volumes of a backup of `source` can come back, or a refusal.

    `contents` is the backup's resource list: names (`namespace/name`) by `group/version/Kind`.
    """
    saved = {v.claim for v in volumes if v.namespace == source and v.succeeded and not v.skipped}
    going = [claim for claim in claims if claim.name in saved]
    if not going:
        return Replacement(
            gate=Gate(answer=Answer.PASS, message="No volume of the backup exists here: none to replace.")
        )
    top, pods, strangers = _users_of({claim.name for claim in going}, users)
    leaving: list[Claim | User] = [*going, *top, *pods]
    for gate in (
        _retained(going),
        _stranger(strangers),
        _selected(parameters, leaving),
        _held(source, contents, top, going),
        _taken_along(claims, going, [*top, *pods]),
    ):
        if gate.answer != Answer.PASS:
            return Replacement(gate=gate)
    return Replacement(
        gate=Gate(answer=Answer.PASS, message=_summary(going, top)),
        workloads=tuple(Doomed(kind=u.kind, name=u.name, uid=u.uid) for u in top if u.kind != "Pod"),
        pods=tuple(Doomed(kind=u.kind, name=u.name, uid=u.uid) for u in pods),
        claims=tuple(Doomed(kind="PersistentVolumeClaim", name=c.name, uid=c.uid) for c in going),
    )


def kept(
    source: str,
    volumes: Iterable[VolumeResult],
    parameters: Parameters,
    claims: Iterable[str],
    pods: Collection[str],
) -> Gate:
    """`existingVolumes: Keep`: a pass, or a refusal where Velero would write into a claim that is to be kept.

    It writes what a file-system backup holds through the pod that it restores, into whatever claim that pod mounts: a
    pod that exists is left alone, and its claim with it; one that is gone, or has another name since, is not (Velero
    1.18, tried). `claims` and `pods` are names in the destination; claims that this Operation made itself are left out.
    """
    existing = set(claims)
    lost = {
        volume.claim: volume.pod.rpartition("/")[2]
        for volume in volumes
        if volume.namespace == source
        and volume.claim in existing
        and volume.method == _THROUGH_A_POD
        and volume.succeeded
        and volume.pod.rpartition("/")[2] not in pods
    }
    if not lost or not _is_selected(PLURALS["Pod"], parameters):
        return Gate(answer=Answer.PASS, message="Volumes that exist are kept as they are.")
    named = ", ".join(f"{claim} (pod {pod})" for claim, pod in sorted(lost.items())[:MAX_NAMED])
    return refuse(
        Reason.VALIDATION_FAILED,
        f"Nothing was touched: spec.parameters.existingVolumes: Keep would not keep {named}: Velero would make the pod "
        "of the backup, which is not there, and write the backup's files into the claim. Leave pods out "
        "(excludedResources: [pods]), so that the workloads make their own; or say existingVolumes: Replace.",
    )


def kept_safe(
    planned: Replacement, destination: str, saved_as: str, kept: Iterable[VolumeResult], own: Collection[str]
) -> Replacement:
    """The same plan, or a refusal where it would delete a claim that the safety backup has no data of.

    `own` are claims that an earlier attempt brought: what is in those is in the backup that is restored.
    """
    safe = set(own) | {v.claim for v in kept if v.namespace == destination and v.succeeded and not v.skipped}
    unsafe = [claim.name for claim in planned.claims if claim.name not in safe]
    if not unsafe:
        return planned
    gate = refuse(
        Reason.SAFETY_BACKUP_FAILED,
        f"Nothing was touched: {_FIELD} would delete {', '.join(unsafe)}, and the safety backup {saved_as} does not "
        "hold what is in there now. Make it readable to Velero and create a new Operation; or go on without one.",
    )
    return Replacement(gate=gate)


def _users_of(names: set[str], users: Sequence[User]) -> tuple[list[User], list[User], list[tuple[User, Owner]]]:
    """The outermost workloads that use these claims, their pods, and what is run by something that we do not know."""
    by_uid = {user.uid: user for user in users}
    top: dict[str, User] = {}
    pods: dict[str, User] = {}
    strangers: list[tuple[User, Owner]] = []
    for user in users:
        if not any(user.uses(name) for name in names):
            continue
        if user.kind == "Pod":
            pods[user.uid] = user
        outermost = user
        while outermost.owner is not None and outermost.owner.uid in by_uid:
            outermost = by_uid[outermost.owner.uid]
        if outermost.owner is not None:
            strangers.append((outermost, outermost.owner))
        top[outermost.uid] = outermost
    return list(top.values()), list(pods.values()), strangers


def _retained(going: Sequence[Claim]) -> Gate:
    for claim in going:
        if claim.is_retained:
            return refuse(
                Reason.VALIDATION_FAILED,
                f"{_FIELD} would delete PersistentVolumeClaim {claim.name}, whose volume {claim.volume} is retained "
                "and would block the one that comes back. Keep the volume, or let it go with: kubectl patch "
                f'persistentvolume {claim.volume} -p \'{{"spec":{{"persistentVolumeReclaimPolicy":"Delete"}}}}\'',
            )
    return PASS


def _stranger(strangers: Sequence[tuple[User, Owner]]) -> Gate:
    for user, owner in strangers:
        return refuse(
            Reason.VALIDATION_FAILED,
            f"{_FIELD}: {user} uses a volume that would be replaced and is run by {owner.kind} {owner.name}, which the "
            "engine does not know how to stop. Stop it yourself, and create a new Operation.",
        )
    return PASS


def _selected(parameters: Parameters, leaving: Sequence[Claim | User]) -> Gate:
    """What goes must come back: a selection that may leave it out is no selection for Replace."""
    if parameters.label_selector is not None:
        return _selection("labelSelector")
    if parameters.restore_pvs is False:
        return _selection("restorePVs: false")
    kinds = {
        "PersistentVolume",
        *(item.kind if isinstance(item, User) else "PersistentVolumeClaim" for item in leaving),
    }
    for kind in sorted(kinds):
        if not _is_selected(PLURALS[kind], parameters):
            return _selection(f"the selection of resources (without {PLURALS[kind]})")
    return PASS


def _selection(what: str) -> Gate:
    return refuse(
        Reason.VALIDATION_FAILED,
        f"{_FIELD} deletes volumes and the workloads on them, and with {what} not all of it would come back. "
        "Remove one of the two.",
    )


def _is_selected(plural: str, parameters: Parameters) -> bool:
    given = {name.lower() for name in parameters.excluded_resources or ()}
    if given & _spellings(plural) or "*" in given:
        return False
    wanted = {name.lower() for name in parameters.included_resources or ()}
    return not wanted or "*" in wanted or bool(wanted & _spellings(plural))


def _spellings(plural: str) -> set[str]:
    """Velero takes plural, singular and short names, with or without the group."""
    short = {"persistentvolumeclaims": "pvc", "persistentvolumes": "pv", "pods": "po"}
    name = plural.partition(".")[0]
    bare = {name, name.removesuffix("s"), short.get(name, name)}
    short_apps = {
        "deployments": "deploy",
        "statefulsets": "sts",
        "daemonsets": "ds",
        "replicasets": "rs",
        "cronjobs": "cj",
    }
    return bare | {plural} | ({short_apps[name]} if name in short_apps else set())


def _held(source: str, contents: Mapping[str, Sequence[str]], top: Sequence[User], going: Sequence[Claim]) -> Gate:
    """Whether the backup holds everything that would be deleted."""
    held = {(kind.rpartition("/")[2], name) for kind, names in contents.items() for name in names}
    wanted = [(u.kind, u.name) for u in top] + [("PersistentVolumeClaim", c.name) for c in going]
    for kind, name in wanted:
        if (kind, f"{source}/{name}") not in held:
            return refuse(
                Reason.VALIDATION_FAILED,
                f"{_FIELD} would delete {kind} {name}, which uses a volume of the backup and is not in it: it would "
                f"not come back. Save what you need of it, delete it (kubectl delete {kind.lower()} {name}), and "
                "create a new Operation.",
            )
    return PASS


def _taken_along(claims: Sequence[Claim], going: Sequence[Claim], top: Sequence[User]) -> Gate:
    """A workload may take claims with it, those too of which the backup has no data: its own, or its StatefulSet's."""
    staying = [claim for claim in claims if claim not in going]
    for user in top:
        for claim in staying:
            if user.uid in claim.owners or (user.deletes_claims and user.made(claim.name)):
                return refuse(
                    Reason.VALIDATION_FAILED,
                    f"{_FIELD} would delete {user}, and with it PersistentVolumeClaim {claim.name}, of which the "
                    "backup has no data (by its ownerReferences, or the persistentVolumeClaimRetentionPolicy). Change "
                    "that and create a new Operation.",
                )
    return PASS


def _summary(going: Sequence[Claim], top: Sequence[User]) -> str:
    volumes = ", ".join(claim.name for claim in going)
    workloads = f" with {', '.join(str(user) for user in top)}" if top else ""
    return f"To be replaced: {volumes}{workloads}."


def observe_claim(manifest: Mapping[str, Any], reclaim_policies: Mapping[str, str]) -> Claim:
    """A PersistentVolumeClaim; `reclaim_policies` by the names of PersistentVolumes."""
    volume = (manifest.get("spec") or {}).get("volumeName")
    return Claim(
        name=manifest["metadata"]["name"],
        uid=manifest["metadata"]["uid"],
        volume=volume,
        is_retained=reclaim_policies.get(volume or "") == "Retain",
        owners=tuple(owner["uid"] for owner in manifest["metadata"].get("ownerReferences") or ()),
        restored_by=(manifest["metadata"].get("labels") or {}).get(VELERO_RESTORE_LABEL),
        created_at=manifest["metadata"].get("creationTimestamp"),
    )


def observe_user(kind: str, manifest: Mapping[str, Any]) -> User | None:
    """A pod or a workload of one of our kinds; None for a pod that has ended and holds nothing any more."""
    meta, spec = manifest["metadata"], manifest.get("spec") or {}
    if kind == "Pod" and (manifest.get("status") or {}).get("phase") in _ENDED_PODS:
        return None
    retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
    return User(
        kind=kind,
        name=meta["name"],
        uid=meta["uid"],
        owner=_controller(meta),
        claims=_claims(kind, manifest),
        claim_templates=tuple(t["metadata"]["name"] for t in spec.get("volumeClaimTemplates") or ()),
        deletes_claims=kind == "StatefulSet" and retention.get("whenDeleted") == "Delete",
    )


def _controller(meta: Mapping[str, Any]) -> Owner | None:
    for owner in meta.get("ownerReferences") or ():
        if owner.get("controller"):
            return Owner(kind=owner["kind"], name=owner["name"], uid=owner["uid"])
    return None


def _claims(kind: str, manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """The claims in a pod's spec; one from an `ephemeral` volume is called `<pod>-<volume>` and goes with its pod."""
    spec: Mapping[str, Any] = manifest.get("spec") or {}
    if kind == "CronJob":
        spec = (spec.get("jobTemplate") or {}).get("spec") or {}
    if kind != "Pod":
        spec = (spec.get("template") or {}).get("spec") or {}
    found = []
    for volume in spec.get("volumes") or ():
        if "persistentVolumeClaim" in volume:
            found.append(volume["persistentVolumeClaim"]["claimName"])
        elif "ephemeral" in volume and kind == "Pod":
            found.append(f"{manifest['metadata']['name']}-{volume['name']}")
    return tuple(found)
