"""Velero's artefacts in the bucket, as values: pure parsers, lenient to what a newer Velero adds."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from operation_engine.domain.lifecycle import bounded
from operation_engine.domain.verdicts import VolumeResult

MAX_PROBLEMS = 20
MAX_PROBLEM = 256


def resource_list(content: Any) -> Mapping[str, tuple[str, ...]]:
    """`BackupResourceList`: names by `group/version/Kind`."""
    return {kind: tuple(names or ()) for kind, names in content.items()} if isinstance(content, dict) else {}


def problems(content: Any) -> tuple[str, ...]:
    """`BackupResults` or `RestoreResults`: errors first, then warnings, each bounded."""
    if not isinstance(content, dict):
        return ()
    found = [*_messages(content.get("errors")), *(f"warning: {m}" for m in _messages(content.get("warnings")))]
    return tuple(bounded(message, MAX_PROBLEM) for message in found)


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
    method = info.get("backupMethod") or ""
    detail: Mapping[str, Any] = info.get("pvbInfo") or info.get("snapshotDataMovementInfo") or {}
    return VolumeResult(
        claim=info.get("pvcName") or info.get("pvName") or "",
        namespace=info.get("pvcNamespace") or "",
        method=method,
        skipped=bool(info.get("skipped")),
        skipped_reason=info.get("skippedReason"),
        size_bytes=detail.get("size"),
        failed=info.get("result") == "failed" or detail.get("phase") in ("Failed", "Canceled"),
    )


def bounded_warnings(found: Sequence[str]) -> tuple[str, ...]:
    """The first 20 warnings, then a count: what fits into a status."""
    if len(found) <= MAX_PROBLEMS:
        return tuple(bounded(w, MAX_PROBLEM) for w in found)
    rest = len(found) - MAX_PROBLEMS
    return (*(bounded(w, MAX_PROBLEM) for w in found[:MAX_PROBLEMS]), f"and {rest} more")
