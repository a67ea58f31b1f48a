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
    """A claim as a pod in the backup uses it, both as namespace/name."""

    claim: str
    pod: str
    opted_in: bool = False
    opted_out: bool = False


class HeldObjects(ApiModel):
    """What the backup's own contents say of its claims and pods, as namespace/name."""

    mounts: tuple[Mount, ...] = ()
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
    wish: VolumeWish, claims: Sequence[str], results: Sequence[VolumeResult], held: HeldObjects | None
) -> VolumeCount:
    """Hold what was asked for against what was taken. `claims` are those of the resource list, as namespace/name."""
    taken = {r.subject: r for r in results if r.succeeded and not r.skipped}
    other = {r.subject: r for r in results if r.subject not in taken}
    missing = [f"{r.subject} ({_failure(r)})" for r in other.values() if not r.skipped]
    left_out: list[str] = []
    for claim in claims:
        result = other.get(claim)
        if claim in taken or (result is not None and not result.skipped):
            continue
        if _is_asked_for(wish, claim, result, held):
            missing.append(f"{claim} ({_cause(wish, claim, result, held)})")
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


def _is_asked_for(wish: VolumeWish, claim: str, result: VolumeResult | None, held: HeldObjects | None) -> bool:
    if held is None:
        # Without the pods only Velero's own words tell an opt-out; what nobody can rule out counts.
        return wish.snapshots or (wish.file_system and not _opted_out_by_word(result))
    if claim in held.dataless_claims:
        return False
    mounts = [m for m in held.mounts if m.claim == claim]
    if wish.file_system:
        is_opted_out = bool(mounts) and all(m.opted_out for m in mounts)
        return wish.snapshots or not is_opted_out
    return wish.snapshots or any(m.opted_in for m in mounts)


def _opted_out_by_word(result: VolumeResult | None) -> bool:
    """Only of a Backup that takes every volume: of another one Velero 1.18 says so where nobody opted in."""
    return result is not None and _OPTED_OUT in (result.skipped_reason or "")


def _failure(result: VolumeResult) -> str:
    how = result.method or "Velero"
    return f"its {how} did not succeed"


def _cause(wish: VolumeWish, claim: str, result: VolumeResult | None, held: HeldObjects | None) -> str:
    if held is not None and claim in held.host_path_claims:
        return "it is a hostPath volume, which Velero cannot read"
    if wish.file_system and not wish.snapshots and held is not None and not any(m.claim == claim for m in held.mounts):
        return "no pod in the backup mounts it, and a file-system backup reads volumes through running pods"
    if result is None or not result.skipped_reason:
        return "Velero does not mention it"
    return f"Velero skipped it: {bounded(_reason(result.skipped_reason, wish), _MAX_CAUSE)}"


def _why_not_asked(wish: VolumeWish, claim: str, held: HeldObjects | None) -> str:
    out = [m.pod for m in held.mounts if m.claim == claim and m.opted_out] if held is not None else []
    if out:
        return f"pod {out[0]} opts it out"
    if wish.file_system:
        return "a pod opts it out"
    return "no parameter and no pod asks for it; parameters.defaultVolumesToFsBackup would"


def _reason(skipped: str, wish: VolumeWish) -> str:
    """Of `approach: reason;approach: reason;` the approach that was asked for, else whatever there is."""
    parts = [part.strip() for part in skipped.split(";") if part.strip()]
    asked = [part for part in parts if part.startswith("podvolume: ") != wish.snapshots and _OPTED_OUT not in part]
    return (asked or parts or [skipped])[0].removeprefix("podvolume: ")
