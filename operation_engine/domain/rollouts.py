"""Whether workloads have rolled out and claims are bound: pure, over objects as the API server returned them.

The rules are those of `kubectl rollout status`; the causes are what `kubectl describe pod` would tell.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from operation_engine.domain.resources.common import ApiModel

Manifest = Mapping[str, Any]
MAX_TOLD = 5


class Unready(ApiModel):
    """One object that is not what it should be, and why."""

    name: str
    why: str

    def __str__(self) -> str:
        return f"{self.name}: {self.why}"


def unready_workloads(
    wanted: Sequence[str], found: Mapping[str, Manifest], pods: Sequence[Manifest]
) -> tuple[Unready, ...]:
    """Those of `Kind/name` that have not rolled out, with the cause in a pod of theirs where there is one."""
    faults = ((name, _workload_fault(name, found.get(name))) for name in wanted)
    return tuple(
        Unready(name=name, why=_with_cause(why, found.get(name), pods)) for name, why in faults if why is not None
    )


def unbound_claims(wanted: Sequence[str], found: Mapping[str, Manifest]) -> tuple[Unready, ...]:
    """Those claims that are not Bound."""
    return tuple(
        Unready(name=f"PersistentVolumeClaim/{name}", why=why)
        for name in wanted
        if (why := _claim_fault(found.get(name))) is not None
    )


def told(unready: Sequence[Unready]) -> str:
    """The first of them, and how many more there are."""
    rest = len(unready) - MAX_TOLD
    more = f"; and {rest} more" if rest > 0 else ""
    return "; ".join(map(str, unready[:MAX_TOLD])) + more


def _workload_fault(name: str, manifest: Manifest | None) -> str | None:
    if manifest is None:
        return "it does not exist"
    status = manifest.get("status", {})
    if status.get("observedGeneration", 0) < manifest["metadata"].get("generation", 0):
        return "its controller has not seen it yet"
    return _daemon_set(status) if name.startswith("DaemonSet/") else _replicated(manifest, status)


def _daemon_set(status: Manifest) -> str | None:
    wanted, ready = status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
    return None if ready >= wanted else f"{ready} of {wanted} pods are ready"


def _replicated(manifest: Manifest, status: Manifest) -> str | None:
    """A Deployment or a StatefulSet. Absent replicas are one, as the API server has it."""
    spec = manifest.get("spec", {})
    wanted, ready = spec.get("replicas", 1), status.get("readyReplicas", 0)
    if ready < wanted:
        return f"{ready} of {wanted} pods are ready"
    updates_by_hand = spec.get("updateStrategy", {}).get("type") == "OnDelete" or spec.get("paused", False)
    updated = status.get("updatedReplicas", 0)
    if updated < wanted and not updates_by_hand:
        return f"{updated} of {wanted} pods are of the newest revision"
    return None


def _with_cause(why: str, manifest: Manifest | None, pods: Sequence[Manifest]) -> str:
    if manifest is None:
        return why
    labels = manifest.get("spec", {}).get("selector", {}).get("matchLabels") or {}
    own = (pod for pod in pods if labels and labels.items() <= pod["metadata"].get("labels", {}).items())
    cause = next((cause for pod in own if (cause := _pod_fault(pod)) is not None), None)
    return f"{why} ({cause})" if cause else why


def _pod_fault(pod: Manifest) -> str | None:
    name, status = pod["metadata"]["name"], pod.get("status", {})
    for condition in status.get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"pod {name}: {condition.get('message') or condition.get('reason')}"
    for container in _containers(status):
        waiting = container.get("state", {}).get("waiting")
        if waiting and waiting.get("reason") not in (None, "PodInitializing", "ContainerCreating"):
            words = ": ".join(part for part in (waiting["reason"], waiting.get("message")) if part)
            return f"pod {name}, container {container['name']}: {words[:200]}"
    return None


def _containers(status: Manifest) -> Iterable[Manifest]:
    return (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))


def _claim_fault(manifest: Manifest | None) -> str | None:
    if manifest is None:
        return "it does not exist"
    phase = manifest.get("status", {}).get("phase", "Pending")
    storage_class = manifest.get("spec", {}).get("storageClassName")
    return None if phase == "Bound" else f"it is {phase} (storage class {storage_class or 'none'})"
