"""Which volumes a backup was asked for, and which of them it can show: pure, over what the bucket holds.

Asked for is what the Velero Backup says after Velero has filled in its own defaults, and what pods say in their
annotations. Velero 1.18 skips volumes without an error (a pod that does not run, one that is not mounted, a hostPath
volume) and still says Completed, so only a result that says succeeded counts.
"""

from collections.abc import Sequence

from operation_engine.domain.lifecycle import bounded
from operation_engine.domain.resources.common import ApiModel

OPT_IN = "backup.velero.io/backup-volumes"
OPT_OUT = "backup.velero.io/backup-volumes-excludes"
LEAVE_OUT = "velero.io/exclude-from-backup=true"
_ADVICE = (
    "Make it readable to Velero; or leave it out in so many words "
    f"(label the claim {LEAVE_OUT}, or annotate its pod with {OPT_OUT}). Then create a new Operation."
)
_OPTED_OUT = "opted out due to annotation"
_BY_POD = "podvolume: "
_WOULD = "parameters.defaultVolumesToFsBackup would"
_SHOWN = 3
_MAX_CAUSE = 140


class VolumeWish(ApiModel):
    """What a Velero Backup asks for of volumes, Velero's own defaults included."""

    file_system: bool = False
    """`defaultVolumesToFsBackup`: every volume that a running pod mounts, but for opt-outs."""
    snapshots: bool = False
    """`snapshotVolumes` or `snapshotMoveData` in so many words: every volume."""
    moves_data: bool = False
    """Volume data goes through data movers, whose bytes can be counted."""


EVERYTHING = VolumeWish(file_system=True, snapshots=True, moves_data=True)
"""What is taken for asked where nobody knows what was."""


class VolumeResult(ApiModel):
    """One volume of a backup, from its volume infos."""

    claim: str = ""
    """Empty for a pod's own volume, such as an emptyDir."""
    namespace: str = ""
    pod: str = ""
    volume: str = ""
    method: str = ""
    """NativeSnapshot, PodVolumeBackup, CSISnapshot; empty for one that was skipped."""
    skipped_reason: str | None = None
    size_bytes: int | None = None
    """Bytes in the storage location; None where they stay with a snapshot's provider."""
    succeeded: bool = False
    skipped: bool = False

    @property
    def subject(self) -> str:
        """How a person finds it: the claim as namespace/name, or the pod's volume."""
        return f"{self.namespace}/{self.claim}" if self.claim else f"volume {self.volume} of pod {self.pod}"


class Mount(ApiModel):
    """A claim as a pod in the backup uses it, or would by its template."""

    claim: str
    """As namespace/name."""
    pod: str
    """As namespace/name; of a template, where it stands."""
    opted_in: bool = False
    opted_out: bool = False


class HeldObjects(ApiModel):
    """What the backup's own contents say of its claims and pods, as namespace/name."""

    mounts: tuple[Mount, ...] = ()
    templates: tuple[Mount, ...] = ()
    """Of workloads that keep pods running: their pods may have been on their way out, which Velero passes over."""
    pods: frozenset[str] = frozenset()
    dataless_claims: frozenset[str] = frozenset()
    """Unbound ones, which have no volume, and a pod's own ephemeral ones, whose data ends with the pod."""
    host_path_claims: frozenset[str] = frozenset()


class VolumeCount(ApiModel):
    """What the backup holds of volumes, and what it does not."""

    taken: int = 0
    size_bytes: int = 0
    missing: tuple[str, ...] = ()
    """Asked for and not there, each with the cause."""
    left_out: tuple[str, ...] = ()
    """Not asked for, and not there either: a person should hear of it."""


def count_volumes(
    wish: VolumeWish,
    claims: Sequence[str],
    results: Sequence[VolumeResult],
    held: HeldObjects | None,
    pods_lost: Sequence[str] = (),
) -> VolumeCount:
    """Hold what was asked for against what was taken. `claims` are those of the resource list, as namespace/name.

    A pod that Velero left out took its annotations with it: a claim that no other pod mounts may have been asked for.
    """
    taken = {r.subject: r for r in results if r.succeeded and not r.skipped}
    other = {r.subject: r for r in results if r.subject not in taken}
    missing = [f"{r.subject} ({_failure(r)})" for r in other.values() if not r.skipped]
    left_out: list[str] = []
    for claim in claims:
        result = other.get(claim)
        if claim in taken or (result is not None and not result.skipped):
            continue
        lost = pods_lost if held is not None and not _mounts(held.mounts, claim) else ()
        if _is_asked_for(wish, claim, result, held, is_mount_lost=bool(lost)):
            missing.append(f"{claim} ({_cause(wish, claim, result, held, lost)})")
        elif held is None or claim not in held.dataless_claims:
            left_out.append(f"The data of claim {claim} is not in the backup: {_why_not_asked(wish, claim, held)}.")
    return VolumeCount(
        taken=len(taken),
        size_bytes=sum(r.size_bytes or 0 for r in taken.values()),
        missing=tuple(missing),
        left_out=tuple(left_out),
    )


def missing_message(backup: str, missing: Sequence[str]) -> str:
    """What is missing and what to do; the first few by name."""
    more = f"; and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    return f"Velero Backup {backup} does not hold the data of: {'; '.join(missing[:_SHOWN])}{more}. {_ADVICE}"


def _is_asked_for(
    wish: VolumeWish, claim: str, result: VolumeResult | None, held: HeldObjects | None, *, is_mount_lost: bool
) -> bool:
    if held is None:
        # Without the pods only Velero's own words tell who opted in or out; what nobody can rule out counts.
        by_word = not _opted_out_by_word(result) if wish.file_system else _opted_in_by_word(result)
        return wish.snapshots or by_word
    if claim in held.dataless_claims:
        return False
    by_pods, by_templates = _mounts(held.mounts, claim), _mounts(held.templates, claim)
    if wish.file_system:
        mounts = by_pods or by_templates
        is_opted_out = bool(mounts) and all(m.opted_out for m in mounts)
        return wish.snapshots or not is_opted_out
    return wish.snapshots or is_mount_lost or any(m.opted_in for m in (*by_pods, *by_templates))


def _mounts(mounts: Sequence[Mount], claim: str) -> tuple[Mount, ...]:
    return tuple(mount for mount in mounts if mount.claim == claim)


def _opted_out_by_word(result: VolumeResult | None) -> bool:
    """Only of a Backup that takes every volume: of another one Velero 1.18 says so where nobody opted in."""
    return result is not None and _OPTED_OUT in (result.skipped_reason or "")


def _opted_in_by_word(result: VolumeResult | None) -> bool:
    """Velero 1.18 gives a file-system reason other than the opt-out only for a volume that it tried to take."""
    by_pod = _reasons(result.skipped_reason or "", by_pod=True) if result is not None else ()
    return any(_OPTED_OUT not in reason for reason in by_pod)


def _failure(result: VolumeResult) -> str:
    how = result.method or "Velero"
    return f"its {how} did not succeed"


def _cause(
    wish: VolumeWish, claim: str, result: VolumeResult | None, held: HeldObjects | None, lost: Sequence[str]
) -> str:
    if held is not None and claim in held.host_path_claims:
        return "it is a hostPath volume, which Velero cannot read"
    if lost and not wish.snapshots:
        return f"it was left out with pod {lost[0]}, or no pod mounts it"
    is_unmounted = held is not None and not _mounts(held.mounts, claim)
    if wish.file_system and not wish.snapshots and is_unmounted:
        return "no pod in the backup mounts it, and a file-system backup reads volumes through running pods"
    if held is not None and is_unmounted and not wish.snapshots:
        asking = next(mount.pod for mount in _mounts(held.templates, claim) if mount.opted_in)
        return f"the {asking} asks for it, and no pod in the backup mounts it"
    if result is None or not result.skipped_reason:
        return "Velero does not mention it"
    return f"Velero skipped it: {bounded(_reason(result.skipped_reason, wish), _MAX_CAUSE)}"


def _why_not_asked(wish: VolumeWish, claim: str, held: HeldObjects | None) -> str:
    if held is None:
        return "a pod opts it out" if wish.file_system else f"no parameter asks for it, as far as is known; {_WOULD}"
    out = [mount for mount in _mounts(held.mounts, claim) if mount.opted_out]
    if out:
        return f"pod {out[0].pod} opts it out"
    if wish.file_system:
        return f"the {_mounts(held.templates, claim)[0].pod} opts it out"
    return f"no parameter and no pod asks for it; {_WOULD}"


def _reason(skipped: str, wish: VolumeWish) -> str:
    """Of Velero's reasons the one that belongs to the way that was asked for, else whatever there is."""
    asked = _reasons(skipped, by_pod=not wish.snapshots)
    told = [reason for reason in asked if _OPTED_OUT not in reason] or [*asked, *_reasons(skipped), skipped]
    return told[0].removeprefix(_BY_POD)


def _reasons(skipped: str, by_pod: bool | None = None) -> tuple[str, ...]:
    """Of `approach: reason;approach: reason;` all, those of the way through pods, or those of the others."""
    parts = [part.strip() for part in skipped.split(";") if part.strip()]
    return tuple(part for part in parts if by_pod is None or part.startswith(_BY_POD) == by_pod)
