"""What a Velero Restore would do with each object of a backup: pure, by the rules of Velero 1.18 (pkg/restore).

`outline` takes of an archived manifest what the rules read and nothing else: no Secret's data stays in memory.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from operation_engine.domain.discovery import EVERY
from operation_engine.domain.plans import Fate, PlannedObject
from operation_engine.domain.resources.common import ApiModel
from operation_engine.domain.resources.operation_parameters import LabelSelector, SelectorOperator, SelectorRequirement
from operation_engine.domain.restored import CLAIM, NAMESPACE, VOLUME
from operation_engine.domain.volumes import VolumeResult

NEVER_RESTORED = frozenset(
    (
        *("nodes", "events", "events.events.k8s.io", "backups.velero.io", "restores.velero.io"),
        *("resticrepositories.velero.io", "csinodes.storage.k8s.io", "volumeattachments.storage.k8s.io"),
        "backuprepositories.velero.io",
    )
)
"""restore_controller.go, nonRestorableResources."""
MADE_BY_KUBERNETES = frozenset({("v1/ServiceAccount", "default"), ("v1/ConfigMap", "kube-root-ca.crt")})
"""In every namespace, a new one too, before Velero comes to it."""
ACCOUNT = "v1/ServiceAccount"
_MIRROR = "kubernetes.io/config.mirror"
_TOKEN = "kubernetes.io/service-account-token"  # noqa: S105 - a type of Secrets
_SNAPSHOTS = "snapshot.storage.k8s.io"
_BY_POD = "PodVolumeBackup"
_ROOT = "resources"
_VELERO_LABELS = {"velero.io/restore-name", "velero.io/backup-name"}
EMPTY = "EMPTY: the backup holds no data of it"
WITHOUT_DATA = "WITHOUT the data that the backup holds: no pod of this Restore mounts it"


class Account(ApiModel):
    """Of a ServiceAccount what Velero merges into one that exists."""

    labels: frozenset[str] = frozenset()
    annotations: frozenset[str] = frozenset()
    secrets: frozenset[str] = frozenset()
    pull_secrets: frozenset[str] = frozenset()

    def lacks(self, other: "Account") -> bool:
        """Whether merging the other one into this changes it."""
        own = (self.labels, self.annotations, self.secrets, self.pull_secrets)
        return any(
            theirs - mine
            for mine, theirs in zip(
                own, (other.labels, other.annotations, other.secrets, other.pull_secrets), strict=True
            )
        )


class Held(ApiModel):
    """An object of a backup, as far as the rules read it."""

    resource: str
    """`deployments.apps`; empty where the cluster does not tell the plural of what a list names."""
    kind: str
    """`apps/v1/Deployment`."""
    namespace: str = ""
    name: str
    labels: Mapping[str, str] | None = None
    """None = the archive could not be read."""
    has_ended: bool = False
    is_mirror: bool = False
    is_token: bool = False
    claims: tuple[str, ...] = ()
    """Of a pod: the claims that it mounts."""
    volume: str = ""
    """Of a claim that is bound: its volume."""
    goes_with_claim: bool = False
    """Of a volume: its reclaim policy is Delete."""
    account: Account | None = None


class Live(ApiModel):
    """What the destination holds."""

    names: Mapping[str, frozenset[str]] = {}
    """By kind; a kind that is missing could not be listed."""
    not_served: frozenset[str] = frozenset()
    accounts: Mapping[str, Account] = {}
    volumes: frozenset[str] = frozenset()
    is_new: bool = False
    """There is no such namespace yet."""


class Selection(ApiModel):
    """What the Restore takes of the backup, and where to."""

    source: str
    destination: str
    included: frozenset[str] = frozenset()
    excluded: frozenset[str] = frozenset()
    labels: LabelSelector | None = None
    from_snapshots: bool = True
    """Not so where restorePVs is false."""
    updates: bool = False
    """existingResourcePolicy: update."""
    going: frozenset[tuple[str, str]] = frozenset()
    """Kind (the last part) and name of what is deleted first."""

    def takes(self, resource: str) -> bool:
        if resource in self.excluded or EVERY in self.excluded:
            return False
        return not self.included or EVERY in self.included or resource in self.included


def is_object(path: str) -> bool:
    """Whether a file of the archive is an object as Velero restores it: each is there once more by version."""
    parts = path.split("/")
    return len(parts) > 3 and parts[0] == _ROOT and parts[2] in ("namespaces", "cluster") and path.endswith(".json")


def outline(path: str, found: Mapping[str, Any]) -> Held:
    """Of an archived object what the rules read."""
    meta, spec, status = (found.get(key) or {} for key in ("metadata", "spec", "status"))
    resource, annotations = path.split("/")[1], meta.get("annotations") or {}
    return Held(
        resource=resource,
        kind=f"{found.get('apiVersion', '')}/{found.get('kind', '')}",
        namespace=meta.get("namespace") or "",
        name=meta.get("name") or "",
        labels=meta.get("labels") or {},
        has_ended=_has_ended(resource, status),
        is_mirror=resource == "pods" and bool(annotations.get(_MIRROR)),
        is_token=resource == "secrets" and found.get("type") == _TOKEN,
        claims=_mounted(spec) if resource == "pods" else (),
        volume=_bound_to(spec, status) if resource == "persistentvolumeclaims" else "",
        goes_with_claim=spec.get("persistentVolumeReclaimPolicy") == "Delete",
        account=observe_account(found) if resource == "serviceaccounts" else None,
    )


def listed(contents: Mapping[str, Sequence[str]], resources: Mapping[str, str]) -> tuple[Held, ...]:
    """From a backup's list alone: names by kind, and the resources of the kinds that are served."""
    found = []
    for kind, names in contents.items():
        for entry in names:
            namespace, _, name = entry.rpartition("/")
            found.append(Held(resource=resources.get(kind, ""), kind=kind, namespace=namespace, name=name))
    return tuple(found)


def observe_account(manifest: Mapping[str, Any]) -> Account:
    """A ServiceAccount, live or archived; the token Secrets of old clusters are not merged."""
    meta = manifest["metadata"]
    secrets = frozenset(secret.get("name", "") for secret in manifest.get("secrets") or ())
    return Account(
        labels=frozenset(meta.get("labels") or {}) - _VELERO_LABELS,
        annotations=frozenset(meta.get("annotations") or {}),
        secrets=frozenset(name for name in secrets if not name.startswith(f"{meta['name']}-token-")),
        pull_secrets=frozenset(secret.get("name", "") for secret in manifest.get("imagePullSecrets") or ()),
    )


def foretold(
    held: Sequence[Held], live: Live, selection: Selection, volumes: Sequence[VolumeResult]
) -> tuple[PlannedObject, ...]:
    """The fate of every object of the backup."""
    mounted = _mounted_by_selected(held, selection)
    found = {item.name: _claim_fate(item, live, selection, mounted) for item in held if item.kind == CLAIM}
    filled = _filled(held, live, selection)
    planned = []
    for item in held:
        if item.kind == CLAIM:
            fate, why = _with_data(item, found[item.name], selection, volumes, filled)
        elif item.kind == VOLUME:
            fate, why = _volume_fate(item, held, found, live, selection, volumes)
        else:
            fate, why = _fate(item, live, selection)
        planned.append(_planned(item, selection, fate, why))
    return tuple(planned)


def matches(selector: LabelSelector | None, labels: Mapping[str, str]) -> bool:
    """Kubernetes' rules for label selectors."""
    if selector is None:
        return True
    exact = all(labels.get(key) == value for key, value in selector.match_labels.items())
    return exact and all(_holds(term, labels) for term in selector.match_expressions)


def _holds(term: SelectorRequirement, labels: Mapping[str, str]) -> bool:
    if term.operator == SelectorOperator.EXISTS:
        return term.key in labels
    if term.operator == SelectorOperator.DOES_NOT_EXIST:
        return term.key not in labels
    is_in = labels.get(term.key) in term.values
    return is_in if term.operator == SelectorOperator.IN else not is_in


def _planned(item: Held, selection: Selection, fate: Fate, why: str) -> PlannedObject:
    namespace = selection.destination if item.namespace == selection.source else (item.namespace or None)
    name = selection.destination if item.kind == NAMESPACE else item.name
    return PlannedObject(kind=item.kind, namespace=namespace, name=name, fate=fate, why=why)


def _fate(item: Held, live: Live, selection: Selection) -> tuple[Fate, str]:
    """Of everything but claims and volumes."""
    if item.kind == NAMESPACE:
        made = "by the engine, with its own labels and nothing of the backed-up namespace"
        return (Fate.CREATE, made) if live.is_new else (Fate.KEEP, "")
    out = _left_out(item, selection) or _not_labelled(item, selection)
    if out is not None:
        return out
    if _SNAPSHOTS in item.resource:
        return Fate.UNKNOWN, "Velero's plugins decide about snapshots"
    if item.is_token and _is_made_anew(item, live):
        return Fate.LEAVE_OUT, "Kubernetes makes tokens anew"
    return _by_presence(item, live, selection)


def _left_out(item: Held, selection: Selection) -> tuple[Fate, str] | None:
    """By what it is, whatever its labels."""
    if not item.namespace and item.kind != VOLUME:
        return Fate.LEAVE_OUT, "cluster-wide: a Restore brings the volumes of its claims and nothing else of that"
    if item.namespace and item.namespace != selection.source:
        return Fate.LEAVE_OUT, f"of namespace {item.namespace}"
    if not item.resource:
        return Fate.UNKNOWN, "the cluster does not serve this kind"
    if item.resource in NEVER_RESTORED:
        return Fate.LEAVE_OUT, "Velero never restores this kind"
    if not selection.takes(item.resource):
        return Fate.LEAVE_OUT, "not among the resources of this Restore"
    if item.has_ended:
        return Fate.LEAVE_OUT, "it has ended"
    return (Fate.LEAVE_OUT, "its node makes it") if item.is_mirror else None


def _not_labelled(item: Held, selection: Selection) -> tuple[Fate, str] | None:
    if selection.labels is None:
        return None
    if item.labels is None:
        return Fate.UNKNOWN, "its labels could not be read"
    return None if matches(selection.labels, item.labels) else (Fate.LEAVE_OUT, "labelSelector does not match")


def _by_presence(item: Held, live: Live, selection: Selection) -> tuple[Fate, str]:
    """By whether there is one of the name."""
    if (item.kind.rpartition("/")[2], item.name) in selection.going:
        return Fate.REPLACE, ""
    exists = _exists(item, live)
    if exists is None:
        fault = "the cluster does not serve this kind" if item.kind in live.not_served else "it may not be listed"
        return Fate.UNKNOWN, fault
    if not exists:
        return Fate.CREATE, ""
    if item.kind == ACCOUNT:
        there = live.accounts.get(item.name)
        if there is None or item.account is None:
            return (Fate.KEEP, "") if live.is_new else (Fate.UNKNOWN, "what it lacks is added")
        return (Fate.UPDATE, "what it lacks is added") if there.lacks(item.account) else (Fate.KEEP, "")
    return (Fate.UPDATE, "") if selection.updates else (Fate.KEEP, "")


def _exists(item: Held, live: Live) -> bool | None:
    if live.is_new:
        return (item.kind, item.name) in MADE_BY_KUBERNETES
    if item.kind in live.not_served or item.kind not in live.names:
        return None
    return item.name in live.names[item.kind]


def _is_made_anew(item: Held, live: Live) -> bool:
    return any(item.name.startswith(f"{account}-token-") for account in live.names.get(ACCOUNT, ()))


def _mounted_by_selected(held: Sequence[Held], selection: Selection) -> frozenset[str]:
    """Claims that come with a pod, whatever their own labels."""
    pods = [item for item in held if item.claims and not (_left_out(item, selection) or _not_labelled(item, selection))]
    return frozenset(claim for pod in pods for claim in pod.claims)


def _filled(held: Sequence[Held], live: Live, selection: Selection) -> frozenset[str]:
    """Claims that a pod of this very Restore mounts: file-system data comes through such a pod only."""
    made = (Fate.CREATE, Fate.REPLACE, Fate.UNKNOWN)
    pods = [item for item in held if item.claims and _fate(item, live, selection)[0] in made]
    return frozenset(claim for pod in pods for claim in pod.claims)


def _claim_fate(item: Held, live: Live, selection: Selection, mounted: Collection[str]) -> tuple[Fate, str]:
    out = _left_out(item, selection)
    if out is None and item.name not in mounted:
        out = _not_labelled(item, selection)
    if out is not None:
        return out
    fate, why = _by_presence(item, live, selection)
    return (Fate.KEEP, "what exists keeps its data") if fate in (Fate.KEEP, Fate.UPDATE) else (fate, why)


def _with_data(
    item: Held,
    found: tuple[Fate, str],
    selection: Selection,
    volumes: Sequence[VolumeResult],
    filled: Collection[str],
) -> tuple[Fate, str]:
    """What would be in a claim that is made."""
    if found[0] not in (Fate.CREATE, Fate.REPLACE):
        return found
    result = _result(item.name, selection.source, volumes)
    if result is None:
        return found[0], EMPTY
    if result.method == _BY_POD and item.name not in filled:
        return found[0], WITHOUT_DATA
    if result.method != _BY_POD and not selection.from_snapshots:
        return found[0], "restorePVs is false: without what its snapshot holds"
    return found[0], "with its data"


def _result(claim: str, source: str, volumes: Sequence[VolumeResult]) -> VolumeResult | None:
    good = (v for v in volumes if v.succeeded and not v.skipped)
    return next((v for v in good if (v.namespace, v.claim) == (source, claim)), None)


def _volume_fate(
    item: Held,
    held: Sequence[Held],
    claims: Mapping[str, tuple[Fate, str]],
    live: Live,
    selection: Selection,
    volumes: Sequence[VolumeResult],
) -> tuple[Fate, str]:
    """A volume comes only with a claim that is bound to it."""
    out = _left_out(item, selection)
    if out is not None:
        return out
    claim = next((c for c in held if c.kind == CLAIM and c.volume == item.name), None)
    if claim is None or claims[claim.name][0] in (Fate.LEAVE_OUT, Fate.UNKNOWN):
        return Fate.LEAVE_OUT, "no claim that comes back is bound to it"
    result = _result(claim.name, selection.source, volumes)
    if result is not None and result.method == "NativeSnapshot":
        return Fate.CREATE, "from its snapshot, under a new name where its own is taken"
    if result is not None or item.goes_with_claim:
        return Fate.LEAVE_OUT, "its claim gets a new volume"
    if item.labels is None:
        return Fate.UNKNOWN, "its reclaim policy could not be read"
    return (Fate.KEEP, "") if item.name in live.volumes else (Fate.CREATE, "as it is recorded, and no data with it")


def _has_ended(resource: str, status: Mapping[str, Any]) -> bool:
    if resource == "pods":
        return status.get("phase") in ("Succeeded", "Failed")
    return resource == "jobs.batch" and bool(status.get("completionTime"))


def _mounted(spec: Mapping[str, Any]) -> tuple[str, ...]:
    volumes = [volume.get("persistentVolumeClaim") or {} for volume in spec.get("volumes") or ()]
    return tuple(volume["claimName"] for volume in volumes if volume.get("claimName"))


def _bound_to(spec: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    return str(spec.get("volumeName") or "") if status.get("phase") == "Bound" else ""
