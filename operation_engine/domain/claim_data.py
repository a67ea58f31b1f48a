"""Whether the data of restored claims came back: pure, over Velero's lists and what its data movers say.

A restore's list of volumes names what Velero meant to bring back, with an empty phase (1.18): what became of it only
the movers tell. Used by the activity that verifies a restore; the verdict is in `domain.restore_verdicts`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from operation_engine.domain import identity
from operation_engine.domain.resources.common import ApiModel
from operation_engine.domain.restored import CLAIM, Action, RestoredItem
from operation_engine.domain.transfers import RESTORE_NAME_LABEL
from operation_engine.domain.volumes import VolumeResult

_CLAIM_UID_LABEL = "velero.io/pvc-uid"


class Mover(ApiModel):
    """What became of the data of one volume: a PodVolumeRestore or a DataDownload."""

    restore: str
    """The Velero Restore that it worked for."""
    namespace: str = ""
    """The one restored into."""
    pod: str = ""
    volume: str = ""
    claim: str = ""
    """Of a DataDownload; a PodVolumeRestore names pod and volume."""
    claim_uid: str = ""
    """Of a PodVolumeRestore."""
    phase: str = ""
    message: str = ""
    size_bytes: int = 0

    @property
    def completed(self) -> bool:
        return self.phase == "Completed"

    def __str__(self) -> str:
        what = f"PersistentVolumeClaim {self.claim}" if self.claim else f"volume {self.volume} of pod {self.pod}"
        return f"{self.namespace}: {what}: {self.message or f'its data mover is {self.phase}'}"


class Filled(ApiModel):
    """A claim that has the backup's data."""

    name: str
    size_bytes: int = 0

    def __str__(self) -> str:
        return f"{self.name} ({self.size_bytes} bytes)" if self.size_bytes else self.name


class ClaimData(ApiModel):
    """What became of the data of the claims in a restore's list."""

    filled: tuple[Filled, ...] = ()
    lost: tuple[str, ...] = ()
    """Created by this restore; the backup holds data of them, and it did not come."""
    left: tuple[str, ...] = ()
    """The same of a claim that came up since the first attempt began: it is no older data that was kept."""
    empty: tuple[str, ...] = ()
    """The backup holds no data of them: what was created is empty."""

    @property
    def size_bytes(self) -> int:
        return sum(claim.size_bytes for claim in self.filled)


@dataclass(frozen=True)
class Brought:
    """What is known of the data that a restore brought."""

    restore: str
    listed: Any
    """The restore's own list of volumes (`RestoreVolumeInfo`); None where there is none."""
    movers: Sequence[Mover]
    """Those of this Restore, and of the attempts before."""
    young: Mapping[str, str] = field(default_factory=dict)
    """Claims (uid by name) that came up since the first attempt began, where there was one before this."""


def observe_mover(manifest: Mapping[str, Any]) -> Mover:
    """A PodVolumeRestore or DataDownload as the API server returned it."""
    labels, spec, status = manifest["metadata"].get("labels", {}), manifest.get("spec", {}), manifest.get("status", {})
    pod, target = spec.get("pod") or {}, spec.get("targetVolume") or {}
    return Mover(
        restore=labels.get(RESTORE_NAME_LABEL, ""),
        namespace=pod.get("namespace") or target.get("namespace") or "",
        pod=pod.get("name", ""),
        volume=spec.get("volume", ""),
        claim=target.get("pvc", ""),
        claim_uid=labels.get(_CLAIM_UID_LABEL, ""),
        phase=status.get("phase", ""),
        message=status.get("message", ""),
        size_bytes=(status.get("progress") or {}).get("bytesDone") or 0,
    )


def words(movers: Sequence[Mover]) -> tuple[str, ...]:
    """What movers that failed say of it."""
    return tuple(str(mover) for mover in movers if mover.phase in ("Failed", "Canceled"))


def claim_data(
    items: Sequence[RestoredItem],
    source: str,
    backed_up: Sequence[VolumeResult],
    brought: Brought,
) -> ClaimData:
    """For each claim of a restore's list, what the backup holds of it against what came.

    A native snapshot is known in the list by its volume alone: Velero makes the volume of it, or fails.
    """
    claims = [item for item in items if item.kind == CLAIM]
    held = {v.claim: v for v in backed_up if v.namespace == source and v.succeeded and not v.skipped and v.claim}
    came, young = dict(_came(brought)), brought.young
    created = [claim for claim in claims if claim.action == Action.CREATED]
    kept = [claim for claim in claims if claim not in created and claim.name in held and claim.name in young]
    native = {c.name for c in created if c.name in held and held[c.name].method == "NativeSnapshot"}
    of_now = {c.name: came.get((c.namespace or "", c.name)) for c in created if c.name in held}
    of_before = {c.name: _came_before(c, held[c.name].method, young[c.name], brought.movers) for c in kept}
    sizes = {name: size for name, size in of_now.items() if size is not None} | dict.fromkeys(native, 0)
    sizes |= {name: size for name, size in of_before.items() if size is not None}
    # Velero fills through each pod that it creates: a claim that existed without its pod was written over.
    sizes |= {c.name: size for c in claims if c not in created and (size := came.get((c.namespace or "", c.name)))}
    return ClaimData(
        filled=tuple(Filled(name=name, size_bytes=size) for name, size in sorted(sizes.items())),
        lost=tuple(name for name in of_now if name not in sizes),
        left=tuple(name for name in of_before if name not in sizes),
        empty=tuple(claim.name for claim in created if claim.name not in held),
    )


def _came_before(claim: RestoredItem, method: str, uid: str, movers: Sequence[Mover]) -> int | None:
    """The size of the data that an attempt before brought into the claim; None where it did not, or not all.

    What snapshots make needs no mover, unless their data is moved; a file-system backup comes by a mover alone.
    """
    where = (claim.namespace, claim.name)
    own = [m for m in movers if m.claim_uid == uid or (m.claim and (m.namespace, m.claim) == where)]
    done = next((mover for mover in own if mover.completed), None)
    if done is not None:
        return done.size_bytes
    return 0 if not own and method in ("NativeSnapshot", "CSISnapshot") else None


def _came(brought: Brought) -> Iterator[tuple[tuple[str, str], int]]:
    """Namespace and name of the claims whose data came, with its size; a snapshot that is not moved has none."""
    done = [m for m in brought.movers if m.completed and m.restore == identity.label_value(brought.restore)]
    by_pod = {(mover.namespace, mover.pod, mover.volume): mover for mover in done if mover.pod}
    by_claim = {(mover.namespace, mover.claim): mover for mover in done if mover.claim}
    for info in brought.listed or ():
        claim = (info.get("pvcNamespace", ""), info.get("pvcName", ""))
        pod = info.get("pvrInfo")
        if pod is not None:
            mover = by_pod.get((pod.get("podNamespace"), pod.get("podName"), pod.get("volumeName")))
        elif info.get("snapshotDataMoved"):
            mover = by_claim.get(claim)
        else:
            yield claim, 0
            continue
        if mover is not None:
            yield claim, mover.size_bytes
