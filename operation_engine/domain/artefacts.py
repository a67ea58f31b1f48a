"""Velero's artefacts in the bucket, as values: pure parsers, lenient to what a newer Velero adds."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from operation_engine.domain.lifecycle import both_ends
from operation_engine.domain.volumes import OPT_IN, OPT_OUT, HeldObjects, Mount, VolumeResult

MAX_PROBLEMS = 20
MAX_PROBLEM = 256
_MORE = re.compile(r"and (\d+) more")
# Workloads that keep pods running; a Job's pods come and go.
_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController")
HELD_KINDS = (
    *("pods", "persistentvolumeclaims", "persistentvolumes", "replicationcontrollers"),
    *("deployments.apps", "statefulsets.apps", "daemonsets.apps", "replicasets.apps"),
)
_OUTLINE = ("volumeName", "hostPath", "claimRef", "replicas", "ordinals")


def resource_list(content: Any) -> Mapping[str, tuple[str, ...]]:
    """`BackupResourceList`: names by `group/version/Kind`."""
    return {kind: tuple(names or ()) for kind, names in content.items()} if isinstance(content, dict) else {}


def problems(content: Any) -> tuple[str, ...]:
    """`BackupResults` or `RestoreResults`: errors first, then warnings, each bounded."""
    if not isinstance(content, dict):
        return ()
    found = [*_messages(content.get("errors")), *(f"warning: {m}" for m in _messages(content.get("warnings")))]
    return tuple(both_ends(message, MAX_PROBLEM) for message in found)


def _messages(part: Any) -> Iterator[str]:
    """One of `{"velero":[],"cluster":[],"namespaces":{"ns":[]}}`, its lists possibly null."""
    part = part or {}
    for scope in ("velero", "cluster"):
        yield from part.get(scope) or ()
    for namespace, messages in (part.get("namespaces") or {}).items():
        yield from (f"{namespace}: {message}" for message in messages or ())


def volumes(content: Any) -> tuple[VolumeResult, ...]:
    """`BackupVolumeInfos`: one result a volume."""
    return tuple(_volume(info) for info in content or ())


def _volume(info: Mapping[str, Any]) -> VolumeResult:
    """Velero 1.18 (internal/volume): only what ended well is `succeeded`; a result may be missing altogether."""
    pod: Mapping[str, Any] = info.get("pvbInfo") or {}
    moved: Mapping[str, Any] = info.get("snapshotDataMovementInfo") or {}
    return VolumeResult(
        claim=info.get("pvcName") or "",
        namespace=info.get("pvcNamespace") or "",
        pod=f"{pod.get('podNamespace', '')}/{pod.get('podName', '')}" if pod else "",
        volume=pod.get("volumeName") or info.get("pvName") or "",
        method=info.get("backupMethod") or "",
        skipped=bool(info.get("skipped")),
        skipped_reason=info.get("skippedReason"),
        size_bytes=(pod or moved).get("size", 0) if pod or moved else None,
        succeeded=info.get("result") == "succeeded",
    )


def is_held_kind(path: str) -> bool:
    """Whether a file of a backup's contents is one that `held_objects` reads; each is there once more by version."""
    root, kind, scope, *rest = path.split("/") if path.count("/") > 2 else ("",) * 3
    return root == "resources" and kind in HELD_KINDS and scope in ("namespaces", "cluster") and bool(rest)


def outline(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of an object what `held_objects` reads of it: all of them in full may be too much to hold."""
    metadata, spec = found.get("metadata") or {}, found.get("spec") or {}
    annotations = metadata.get("annotations") or {}
    kept = {key: spec[key] for key in _OUTLINE if key in spec}
    kept["volumes"] = [volume for volume in spec.get("volumes") or () if volume.get("persistentVolumeClaim")]
    made = [{"metadata": {"name": made["metadata"]["name"]}} for made in spec.get("volumeClaimTemplates") or ()]
    kept |= {"volumeClaimTemplates": made, "template": outline(spec["template"]) if spec.get("template") else None}
    return {
        "kind": found.get("kind"),
        "metadata": {
            "name": metadata.get("name", ""),
            "namespace": metadata.get("namespace", ""),
            "annotations": {key: annotations[key] for key in (OPT_IN, OPT_OUT) if key in annotations},
            "ownerReferences": [{"kind": owner.get("kind")} for owner in metadata.get("ownerReferences") or ()],
        },
        "spec": kept,
    }


def held_objects(objects: Sequence[Mapping[str, Any]]) -> HeldObjects:
    """From the Pods, workloads, PersistentVolumeClaims and PersistentVolumes of a backup's contents."""
    pods = [o for o in objects if o.get("kind") == "Pod"]
    claims = [o for o in objects if o.get("kind") == "PersistentVolumeClaim"]
    volumes_ = [o for o in objects if o.get("kind") == "PersistentVolume"]
    workloads = [o for o in objects if o.get("kind") in _WORKLOADS and not o["metadata"].get("ownerReferences")]
    names = [_name(claim["metadata"]) for claim in claims]
    host_paths = [o["spec"].get("claimRef") or {} for o in volumes_ if o.get("spec", {}).get("hostPath")]
    return HeldObjects(
        mounts=tuple(mount for pod in pods for mount in _mounts(pod)),
        templates=tuple(mount for workload in workloads for mount in _template_mounts(workload, names)),
        pods=frozenset(_name(pod["metadata"]) for pod in pods),
        dataless_claims=frozenset(_name(claim["metadata"]) for claim in claims if _is_dataless(claim)),
        host_path_claims=frozenset(_name(ref) for ref in host_paths),
    )


def _mounts(pod: Mapping[str, Any]) -> Iterator[Mount]:
    for volume in pod.get("spec", {}).get("volumes") or ():
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if claim:
            namespace = pod["metadata"].get("namespace", "")
            yield _mount(pod, volume.get("name", ""), f"{namespace}/{claim}", _name(pod["metadata"]))


def _template_mounts(workload: Mapping[str, Any], claims: Sequence[str]) -> Iterator[Mount]:
    """What a workload's pods mount by its template, and by a StatefulSet's own templates for claims."""
    spec, metadata = workload.get("spec", {}), workload["metadata"]
    template = spec.get("template") or {}
    namespace = metadata.get("namespace", "")
    where = f"pod template of {workload['kind']} {_name(metadata)}"
    pod = {**template, "metadata": {**(template.get("metadata") or {}), "namespace": namespace}}
    for mount in _mounts(pod):
        yield mount.model_copy(update={"pod": where})
    for volume in (v["metadata"]["name"] for v in spec.get("volumeClaimTemplates") or ()):
        for claim in _claims_of_set(f"{namespace}/{volume}-{metadata.get('name', '')}", spec, claims):
            yield _mount(pod, volume, claim, where)


def _claims_of_set(prefix: str, spec: Mapping[str, Any], claims: Sequence[str]) -> Iterator[str]:
    """Of the claims that a StatefulSet made those that its pods use; of one scaled to nothing, all."""
    start, replicas = (spec.get("ordinals") or {}).get("start", 0), spec.get("replicas", 1)
    for claim in claims:
        base, _, ordinal = claim.rpartition("-")
        if base == prefix and ordinal.isdigit() and (not replicas or start <= int(ordinal) < start + replicas):
            yield claim


def _mount(pod: Mapping[str, Any], volume: str, claim: str, where: str) -> Mount:
    annotations: Mapping[str, str] = pod["metadata"].get("annotations") or {}
    inside, outside = (annotations.get(key, "").split(",") for key in (OPT_IN, OPT_OUT))
    return Mount(claim=claim, pod=where, opted_in=volume in inside, opted_out=volume in outside)


def _is_dataless(claim: Mapping[str, Any]) -> bool:
    owners = claim["metadata"].get("ownerReferences") or ()
    return not claim.get("spec", {}).get("volumeName") or any(owner.get("kind") == "Pod" for owner in owners)


def _name(metadata: Mapping[str, Any]) -> str:
    return f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"


def bounded_warnings(found: Sequence[str]) -> tuple[str, ...]:
    """The first 20 warnings, then a count: what fits into a status. Counts of lists that were joined add up."""
    counts = [more for warning in found if (more := _MORE.fullmatch(warning))]
    listed = [warning for warning in found if not _MORE.fullmatch(warning)]
    rest = len(listed[MAX_PROBLEMS:]) + sum(int(more.group(1)) for more in counts)
    kept = tuple(both_ends(warning, MAX_PROBLEM) for warning in listed[:MAX_PROBLEMS])
    return (*kept, f"and {rest} more") if rest else kept
