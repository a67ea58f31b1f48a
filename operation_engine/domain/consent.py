"""Whose data may go where: the namespaces of a Restore, and the consent of the one that is not its own. Pure.

The activity `check_consent` gathers the facts, for every attempt anew: consent can be taken back.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from operation_engine.domain import identity
from operation_engine.domain.admission import MANAGED_LABELS, PASS, Answer, Gate, refuse
from operation_engine.domain.resources.common import ApiModel
from operation_engine.domain.resources.operation import Operation
from operation_engine.domain.resources.reasons import Reason

RESTORE_FROM_ANNOTATION = "ops.vworkspace.io/restore-from"
OWN_NAMESPACE = "{namespace}"
"""In a prefix of new namespaces: the Operation's own one."""
ANY_NAMESPACE = "*"
# DNS-1123 label, as the API server has it for namespaces: what is not one is never repeated in a command.
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class Route(ApiModel):
    """From where to where a Restore goes; at least one end is the Operation's own namespace."""

    own: str
    source: str
    destination: str


class NamespaceFacts(ApiModel):
    """A Namespace as far as consent needs it."""

    name: str
    uid: str
    labels: Mapping[str, str] = {}
    restore_to: tuple[str, ...] = ()
    restore_from: tuple[str, ...] = ()
    created_at: datetime | None = None
    terminating: bool = False


class BackupOrigin(ApiModel):
    """Where a Velero Backup says that it comes from. Only administrators and the engine write Velero's objects."""

    name: str
    velero_namespace: str
    cluster_id: str | None = None
    included_namespaces: tuple[str, ...] = ()
    source_uid: str | None = None
    restore_to: tuple[str, ...] = ()
    started_at: datetime | None = None


class Facts(ApiModel):
    """What was found around a Restore. A namespace that is None does not exist."""

    backup: BackupOrigin
    source: NamespaceFacts | None = None
    destination: NamespaceFacts | None = None
    operation_uid: str
    cluster_id: str
    require_managed_namespace: bool = True
    new_namespace_prefixes: tuple[str, ...] = ()


class Consent(ApiModel):
    """Whether the data may go there; and what must be approved by a person whatever the installation's mode."""

    gate: Gate
    creates_destination: bool = False
    approval_because: str | None = None


def route(operation: Operation) -> Route | Gate:
    """The Restore's two ends, or the refusal of a mapping that is none."""
    own = operation.metadata.namespace or ""
    mapping = operation.spec.parameters.namespace_mapping or {}
    if not mapping:
        return Route(own=own, source=own, destination=own)
    if len(mapping) > 1:
        return _wrong_mapping(f"has {len(mapping)} entries: a Restore goes from one namespace to one namespace")
    ((source, destination),) = mapping.items()
    for name in (source, destination):
        if not _NAMESPACE.fullmatch(name):
            return _wrong_mapping(f"names {name[:63]!r}, which can be no namespace")
    if own not in (source, destination):
        return _wrong_mapping(f"is {source} to {destination}: one of the two must be the Operation's own, {own}")
    return Route(own=own, source=source, destination=destination)


def check(way: Route, facts: Facts) -> Consent:
    """The first objection, the backup's own first; else a pass, perhaps with a reason to ask for approval."""
    for gate in (_belongs(way, facts), _source_consents(way, facts), _destination_consents(way, facts)):
        if gate.answer != Answer.PASS:
            return Consent(gate=gate)
    return Consent(
        gate=Gate(answer=Answer.PASS, message=_summary(way, facts)),
        creates_destination=facts.destination is None,
        approval_because=_reused(way, facts),
    )


def observe_namespace(manifest: Mapping[str, Any]) -> NamespaceFacts:
    """A Namespace as the API server returned it."""
    meta = manifest["metadata"]
    annotations = meta.get("annotations") or {}
    return NamespaceFacts(
        name=meta["name"],
        uid=meta["uid"],
        labels=meta.get("labels") or {},
        restore_to=names(annotations.get(identity.RESTORE_TO_ANNOTATION)),
        restore_from=names(annotations.get(RESTORE_FROM_ANNOTATION)),
        created_at=meta.get("creationTimestamp"),
        terminating=meta.get("deletionTimestamp") is not None,
    )


def observe_origin(manifest: Mapping[str, Any]) -> BackupOrigin:
    """A Velero Backup as the API server returned it."""
    meta, spec, status = manifest["metadata"], manifest.get("spec") or {}, manifest.get("status") or {}
    annotations = meta.get("annotations") or {}
    return BackupOrigin(
        name=meta["name"],
        velero_namespace=meta["namespace"],
        cluster_id=(meta.get("labels") or {}).get(identity.CLUSTER_ID_LABEL),
        included_namespaces=tuple(spec.get("includedNamespaces") or ()),
        source_uid=annotations.get(identity.SOURCE_NAMESPACE_UID_ANNOTATION),
        restore_to=names(annotations.get(identity.RESTORE_TO_ANNOTATION)),
        started_at=status.get("startTimestamp"),
    )


def names(text: str | None) -> tuple[str, ...]:
    """The namespaces in a consent annotation; whatever else stands there consents to nothing."""
    found = (part.strip() for part in (text or "").split(","))
    return tuple(name for name in found if _NAMESPACE.fullmatch(name))


def prefixes(by_namespace: Mapping[str, Sequence[str]], own: str) -> tuple[str, ...]:
    """What names of new namespaces may begin with for Operations of `own`, by the installation's list."""
    listed = by_namespace.get(own, by_namespace.get(ANY_NAMESPACE, ()))
    return tuple(prefix.replace(OWN_NAMESPACE, own) for prefix in listed if prefix)


def destination_manifest(way: Route, operation_uid: str) -> dict[str, Any]:
    """A destination that is missing, with the engine's labels and nothing of the backed-up namespace.

    Velero would give it that one's labels and annotations, consents included.
    """
    labels = {
        identity.MANAGED_BY_LABEL: identity.MANAGED_BY,
        identity.OPERATION_LABEL: operation_uid,
        identity.OPERATION_NAMESPACE_LABEL: way.own,
    }
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": way.destination, "labels": labels}}


def _wrong_mapping(what: str) -> Gate:
    return refuse(Reason.VALIDATION_FAILED, f"spec.parameters.namespaceMapping {what}.")


def _belongs(way: Route, facts: Facts) -> Gate:
    """A backup of the source and of nothing else, made in this cluster."""
    backup, ours = facts.backup, identity.label_value(facts.cluster_id)
    if backup.cluster_id not in (None, ours):
        return refuse(
            Reason.BACKUP_NOT_USABLE,
            f"Velero Backup {backup.name} was made in another cluster ({backup.cluster_id}; this is {ours}). "
            "An administrator can accept it as this cluster's with: "
            f"kubectl label backups.velero.io {backup.name} -n {backup.velero_namespace} {identity.CLUSTER_ID_LABEL}-",
        )
    if backup.included_namespaces != (way.source,):
        found = ", ".join(backup.included_namespaces[:5]) or "every namespace"
        return refuse(
            Reason.BACKUP_NOT_USABLE,
            f"Velero Backup {backup.name} is of {found}; a Restore takes a backup of namespace {way.source} alone. "
            "Name another backup; for another source set spec.parameters.namespaceMapping in a new Operation.",
        )
    return PASS


def _source_consents(way: Route, facts: Facts) -> Gate:
    if way.source == way.own:
        return PASS
    source, backup = facts.source, facts.backup
    given = source.restore_to if source else backup.restore_to
    if way.destination in given:
        return PASS
    if source:
        who, kind, where = f"Namespace {source.name}", f"namespace {source.name}", ""
    else:
        who = f"Namespace {way.source} is gone, and Velero Backup {backup.name}"
        kind, where = f"backups.velero.io {backup.name}", f" -n {backup.velero_namespace}"
    command = _annotate(kind, where, identity.RESTORE_TO_ANNOTATION, (*given, way.destination))
    return refuse(
        Reason.CONSENT_MISSING, f"{who} has not consented to a restore into {way.destination}. Consent: {command}"
    )


def _destination_consents(way: Route, facts: Facts) -> Gate:
    if way.destination == way.own:
        return PASS
    destination = facts.destination
    if destination is None:
        return _may_be_created(way, facts)
    if destination.terminating:
        return refuse(
            Reason.CONSENT_MISSING,
            f"Namespace {way.destination} is being deleted; nothing can be restored into it. "
            f"Once it is gone, make it anew and consent: {_make_and_consent(way)}",
        )
    if facts.require_managed_namespace and not _is_managed(destination):
        return refuse(
            Reason.NAMESPACE_NOT_MANAGED,
            f"Namespace {way.destination} is not served by this engine; an administrator can change that with: "
            f"kubectl label namespace {way.destination} {identity.MANAGED_BY_LABEL}={identity.MANAGED_BY}",
        )
    # A namespace that this very Operation made has nobody else who could be asked.
    own_work = destination.labels.get(identity.OPERATION_LABEL) == facts.operation_uid
    if way.source in destination.restore_from or own_work:
        return PASS
    given = (*destination.restore_from, way.source)
    command = _annotate(f"namespace {way.destination}", "", RESTORE_FROM_ANNOTATION, given)
    return refuse(
        Reason.CONSENT_MISSING,
        f"Namespace {way.destination} has not consented to a restore from {way.source}. Consent: {command}",
    )


def _may_be_created(way: Route, facts: Facts) -> Gate:
    if any(way.destination.startswith(prefix) for prefix in facts.new_namespace_prefixes):
        return PASS
    allowed = ", ".join(facts.new_namespace_prefixes) or "none"
    return refuse(
        Reason.CONSENT_MISSING,
        f"Namespace {way.destination} does not exist, and the engine may not make one of that name for {way.own} "
        f"(names may begin with: {allowed}). An administrator can make it and consent: {_make_and_consent(way)}",
    )


def _make_and_consent(way: Route) -> str:
    name = way.destination
    return (
        f"kubectl create namespace {name} && "
        f"kubectl label namespace {name} {identity.MANAGED_BY_LABEL}={identity.MANAGED_BY} && "
        f"{_annotate(f'namespace {name}', '', RESTORE_FROM_ANNOTATION, (way.source,))}"
    )


def _annotate(what: str, where: str, annotation: str, given: Iterable[str]) -> str:
    """The command that adds a consent and keeps those that were given before."""
    listed = tuple(given)
    overwrite = " --overwrite" if len(listed) > 1 else ""
    return f"kubectl annotate {what}{where} {annotation}={','.join(listed)}{overwrite}"


def _is_managed(namespace: NamespaceFacts) -> bool:
    return any(namespace.labels.get(label) == identity.MANAGED_BY for label in MANAGED_LABELS)


def _reused(way: Route, facts: Facts) -> str | None:
    """Why the live source may be somebody else's than the one that was backed up; None where it is the same.

    A backup that the engine did not make records no uid: then only one begun after the namespace was made counts.
    """
    live, backup = facts.source, facts.backup
    if live is None or backup.source_uid == live.uid:
        return None
    if backup.source_uid is not None:
        return f"Namespace {way.source} was deleted and made anew since Velero Backup {backup.name}"
    if backup.started_at is not None and live.created_at is not None and live.created_at <= backup.started_at:
        return None
    return f"Velero Backup {backup.name} cannot show that it is of today's namespace {way.source}"


def _summary(way: Route, facts: Facts) -> str:
    if way.source == way.destination:
        return f"Velero Backup {facts.backup.name} goes back into {way.own}."
    return f"Velero Backup {facts.backup.name} goes from {way.source} to {way.destination}; both agree."
