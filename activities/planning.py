"""What an Operation would do, looked up and told without doing it. The rules are pure, in `domain.restore_plan`.

Called by the dry run of every workflow, and by `vop plan`. Of all that is written only DownloadRequests are made.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from temporalio import activity

from activities.artefacts import DownloadRefused
from activities.inventory import Inventory
from activities.namespaces import NamespaceActivities
from activities.operations import OperationActivities, own_run
from activities.requests import FoundBackup, Planned, StepRequest
from activities.restores import RestoreActivities
from activities.safeguard_requests import ConsentAnswer
from activities.velero import VeleroActivities, beating
from activities.workloads import WorkloadActivities
from operation_engine.domain import approvals, discovery, plans, restore_outlook, restore_plan
from operation_engine.domain.admission import PASS, Answer, Gate, refuse, wait
from operation_engine.domain.approvals import ApprovalMode
from operation_engine.domain.discovery import ServedKind
from operation_engine.domain.plans import Fate, Plan, PlannedObject, PlannedStep
from operation_engine.domain.replacement import Replacement
from operation_engine.domain.resources.operation import Operation
from operation_engine.domain.resources.operation_parameters import ExistingResourcePolicy, ExistingVolumes
from operation_engine.domain.resources.operation_spec import OperationType
from operation_engine.domain.resources.reasons import Reason
from operation_engine.domain.restore_plan import Selection
from operation_engine.domain.restored import CLAIM, WORKLOADS
from operation_engine.domain.restores import restore_spec
from operation_engine.domain.safety import wants_safety_backup
from operation_engine.domain.steps import BackupStep, RestoreStep
from operation_engine.domain.velero import BackupObservation
from operation_engine.records.operations import OperationStore
from operation_engine.records.suspension import Suspensions
from operation_engine.runtime.kubernetes import Refused


class _Halted(Exception):
    """The plan ends here: a gate does not pass."""


@dataclass
class _Draft:
    """A plan while it is made."""

    operation: Operation
    verdict: Gate = PASS
    fails_at: str | None = None
    steps: list[PlannedStep] = field(default_factory=list)
    objects: tuple[PlannedObject, ...] = ()
    found: dict[str, str | None] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)

    def say(self, step: str, message: str, *, would_run: bool = True) -> None:
        self.steps.append(PlannedStep(name=step, message=message, would_run=would_run))

    def halt(self, step: str, gate: Gate) -> None:
        """Where the gate does not pass, that is the end of the plan. Raises _Halted."""
        if gate.answer == Answer.PASS:
            return
        self.say(step, gate.message)
        self.verdict, self.fails_at = gate, step
        raise _Halted

    def finished(self) -> Plan:
        meta = self.operation.metadata
        return Plan(
            operation=f"{meta.namespace}/{meta.name}",
            type=self.operation.spec.type,
            verdict=self.verdict,
            fails_at=self.fails_at,
            steps=tuple(self.steps),
            objects=self.objects,
            counts=plans.counted(self.objects),
            cannot_tell=tuple(self.doubts),
            **self.found,
        )


_UNTOLD = "{why}. Before somebody approves, nothing of the backup is told; a dry run cannot be approved."


@dataclass(frozen=True)
class Planner:
    """Looks with the eyes of the activities that do the work, and writes nothing."""

    operations: OperationActivities
    velero: VeleroActivities
    restores: RestoreActivities
    namespaces: NamespaceActivities
    workloads: WorkloadActivities
    suspensions: Suspensions
    inventory: Inventory
    mode: ApprovalMode

    async def plan(self, operation: Operation) -> Plan:
        """What the Operation would do if it were made now. Raises KubernetesError."""
        draft = _Draft(operation)
        make = self._restore if operation.spec.type == OperationType.RESTORE else self._backup
        try:
            draft.halt(BackupStep.ADMIT, await self.operations.admission(operation))
            draft.say(BackupStep.ADMIT, "The spec, its namespace and its target are in order.")
            await make(draft)
        except _Halted:
            pass
        return draft.finished()

    async def _backup(self, draft: _Draft) -> None:
        operation = draft.operation
        if why := approvals.why_needed(operation, self.mode):
            draft.say(BackupStep.APPROVE, f"{_approval(operation)} {why}.")
        location, gate = await self.velero.locate(operation)
        if gate.answer == Answer.REFUSE:
            draft.halt(BackupStep.STORAGE_LOCATION, gate)
        draft.say(BackupStep.STORAGE_LOCATION, gate.message)
        draft.verdict = gate
        namespace = operation.metadata.namespace or ""
        draft.found |= {"source": namespace, "storage_location": location.name if location else None}
        draft.objects = await self.inventory.backed_up(operation, namespace)
        counts = plans.told(plans.counted(draft.objects))
        draft.say(BackupStep.CREATE, f"A Velero Backup of namespace {namespace} would be made: {counts}.")
        draft.say(BackupStep.FOLLOW, _data_of_volumes(operation))
        draft.say(BackupStep.VERIFY, "What the bucket holds would be read and set against what was asked for.")
        unlisted = sorted({str(o).split()[0] for o in draft.objects if o.fate == Fate.UNKNOWN})
        draft.doubts += [f"objects of kinds that may not be listed: {', '.join(unlisted)}"] if unlisted else []
        draft.doubts.append(
            "which volumes have data that Velero can take, and what its plugins add (PersistentVolumes)"
        )

    async def _restore(self, draft: _Draft) -> None:
        operation = draft.operation
        found, agreed = await self._gates(draft)
        backup = found.backup
        if backup is None:
            raise RuntimeError("a backup that passed its gate is there")
        draft.found |= {
            "source": agreed.source,
            "destination": agreed.destination,
            "backup_name": backup.name,
            "storage_location": backup.storage_location,
        }
        draft.doubts += [f"what this part of the backup lacks: {problem}" for problem in found.problems]
        draft.say(RestoreStep.DRAIN, "There would be no attempt before.", would_run=False)
        if agreed.creates_destination:
            draft.doubts.append("whether namespace and objects are made by somebody else meanwhile")
        await self._releases(draft, agreed.destination)
        await self._safety(draft, agreed)
        draft.say(RestoreStep.CLEAN_UP, "There would be no attempt before.", would_run=False)
        going = await self._replaced(draft, agreed, backup)
        await self._objects(draft, agreed, backup, going)
        _checks(draft)
        verify = operation.spec.parameters.verify
        draft.verdict = restore_outlook.outlook(draft.objects, verify.min_items if verify else None)
        draft.fails_at = RestoreStep.VERIFY_CONTENTS if draft.verdict.answer != Answer.PASS else None

    async def _gates(self, draft: _Draft) -> tuple[FoundBackup, ConsentAnswer]:
        """Nothing of a backup is told before its owner's consent is known."""
        operation = draft.operation
        found = await self.restores.found(operation, operation.status)
        if found.backup is None:
            draft.halt(RestoreStep.FIND, found.gate)
            raise RuntimeError("a backup that passed its gate is there")
        agreed = await self.namespaces.consent(operation, found.backup.name, operation.status)
        if agreed.gate.answer != Answer.PASS:
            draft.say(RestoreStep.FIND, "A backup of that name was looked for.")
        draft.halt(RestoreStep.CONSENT, agreed.gate)
        if agreed.approval_because is not None:
            # Consent is that of the namespace as it is now; whose the backup is, a person has to say first.
            draft.say(RestoreStep.FIND, "A backup of that name was looked for.")
            draft.say(RestoreStep.CONSENT, agreed.gate.message)
            draft.halt(RestoreStep.APPROVE, wait(Reason.AWAITING_APPROVAL, _UNTOLD.format(why=agreed.approval_because)))
        draft.halt(RestoreStep.FIND, found.gate)
        draft.say(RestoreStep.FIND, found.gate.message)
        draft.say(RestoreStep.CONSENT, agreed.gate.message)
        why = approvals.why_needed(operation, self.mode, agreed.approval_because)
        needed = f"{_approval(operation)} {why}."
        draft.say(RestoreStep.APPROVE, needed if why else "No approval is needed here.", would_run=why is not None)
        return found, agreed

    async def _releases(self, draft: _Draft, destination: str) -> None:
        try:
            found = await self.suspensions.get(destination)
        except Refused as error:
            draft.say(RestoreStep.SUSPEND, f"Cannot be told: {error}")
            draft.doubts.append("which HelmReleases would be suspended")
            return
        names = ", ".join(str(release) for release in found)
        nothing = "No HelmRelease installs into the destination."
        draft.say(RestoreStep.SUSPEND, f"Would be suspended: {names}." if names else nothing, would_run=bool(names))

    async def _safety(self, draft: _Draft, agreed: ConsentAnswer) -> None:
        holdings = await self.workloads.holdings(agreed.destination)
        wanted = wants_safety_backup(draft.operation.spec.parameters.safety_backup, holdings)
        message = f"The destination holds {holdings}" + ("; it would be backed up first." if wanted else ".")
        draft.say(RestoreStep.SAFETY, message, would_run=wanted)

    async def _replaced(self, draft: _Draft, agreed: ConsentAnswer, backup: BackupObservation) -> Replacement:
        if draft.operation.spec.parameters.existing_volumes != ExistingVolumes.REPLACE:
            kept = await self.workloads.kept(draft.operation, agreed.source, agreed.destination, backup.name)
            draft.halt(RestoreStep.REPLACE, kept)
            draft.say(RestoreStep.REPLACE, kept.message, would_run=False)
            return Replacement(gate=PASS)
        try:
            going = await self.workloads.planned_replacement(
                draft.operation, agreed.source, agreed.destination, backup.name
            )
        except DownloadRefused as error:
            going = Replacement(gate=refuse(Reason.BACKUP_NOT_USABLE, f"{error}."))
        draft.halt(RestoreStep.REPLACE, going.gate)
        draft.say(RestoreStep.REPLACE, going.gate.message, would_run=bool(going.claims))
        if going.claims:
            draft.doubts.append("whether the safety backup will hold the volumes that are replaced (else nothing goes)")
        return going

    async def _objects(
        self, draft: _Draft, agreed: ConsentAnswer, backup: BackupObservation, going: Replacement
    ) -> None:
        kinds = await self.inventory.kinds()
        try:
            held, volumes, is_archive = await self.inventory.held(backup, kinds)
        except DownloadRefused as error:
            gate = refuse(Reason.BACKUP_NOT_USABLE, f"Velero Backup {backup.name}: {error}. Choose another backup.")
            draft.halt(RestoreStep.CREATE, gate)
            return
        live = await self.inventory.live(held, agreed.destination, kinds, is_new=agreed.creates_destination)
        doomed = (*going.workloads, *going.pods, *going.claims)
        selection = _selected(draft.operation, agreed, kinds, frozenset((o.kind, o.name) for o in doomed))
        planned = restore_plan.foretold(held, live, selection, volumes)
        back = {(item.kind.rpartition("/")[2], item.name) for item in planned if item.fate == Fate.REPLACE}
        gone = [
            PlannedObject(kind=o.kind, namespace=agreed.destination, name=o.name, fate=Fate.DELETE)
            for o in doomed
            if (o.kind, o.name) not in back
        ]
        draft.objects = (*planned, *gone)
        draft.doubts += restore_outlook.doubts(draft.objects, archive_read=is_archive)


class PlanActivities:
    """The verb of dry runs."""

    def __init__(self, planner: Planner, store: OperationStore) -> None:
        self.planner, self._store = planner, store

    @activity.defn
    async def plan_operation(self, request: StepRequest) -> Planned:
        """What the Operation would do; the first objects of it, and counts of all."""
        status = await self._store.write(request.ref, own_run(), request.report)
        async with beating():
            plan = await self.planner.plan(await self._store.current(request.ref))
        return Planned(status=status, plan=plan.bounded())


def _selected(
    operation: Operation, agreed: ConsentAnswer, kinds: Sequence[ServedKind], going: frozenset[tuple[str, str]]
) -> Selection:
    """As the Velero Restore will say it."""
    spec = restore_spec(operation, "")
    return Selection(
        source=agreed.source,
        destination=agreed.destination,
        included=discovery.resolved(spec.get("includedResources"), kinds),
        excluded=discovery.resolved(spec["excludedResources"], kinds),
        labels=operation.spec.parameters.label_selector,
        from_snapshots=operation.spec.parameters.restore_pvs is not False,
        updates=operation.spec.parameters.existing_resource_policy == ExistingResourcePolicy.UPDATE,
        going=going,
    )


def _approval(operation: Operation) -> str:
    """Whether a claim is good is not looked at: only its use tells whether it was used before."""
    given = operation.spec.approvals
    if given is not None and (given.claim or "").strip():
        return "The claim in spec.approvals would be checked, and spent."
    return "An approval would be waited for."


def _data_of_volumes(operation: Operation) -> str:
    p = operation.spec.parameters
    if p.default_volumes_to_fs_backup:
        return "Velero would be followed; the data of the volumes that running pods mount comes along."
    if p.snapshot_volumes or p.snapshot_move_data:
        return "Velero would be followed; the volumes are taken by snapshots."
    return "Velero would be followed; of volumes' data comes what Velero's own defaults and pods' annotations take."


def _checks(draft: _Draft) -> None:
    """The steps from the Velero Restore on."""
    objects, verify = draft.objects, draft.operation.spec.parameters.verify
    backup, destination = draft.found["backup_name"], draft.found["destination"]
    counts = plans.told(plans.counted(objects))
    changed = plans.named(objects, Fate.CREATE, Fate.REPLACE, Fate.UPDATE)
    what = f"A Velero Restore of Backup {backup} into namespace {destination}: {counts}."
    draft.say(RestoreStep.CREATE, what + (f" First of them: {changed}." if changed else ""))
    draft.say(RestoreStep.FOLLOW, "Velero would be followed to its end.")
    draft.say(RestoreStep.VERIFY_CONTENTS, "The restore's own list would be set against the backup's.")
    back = [item for item in objects if item.fate not in (Fate.LEAVE_OUT, Fate.DELETE)]
    workloads = sum(item.kind in WORKLOADS for item in back)
    claims = sum(item.kind == CLAIM for item in back)
    roll = workloads > 0 and (verify is None or verify.workloads_ready is not False)
    draft.say(RestoreStep.VERIFY_WORKLOADS, f"{workloads} workloads would have to roll out.", would_run=roll)
    bind = claims > 0 and (verify is None or verify.volumes_bound is not False)
    draft.say(RestoreStep.VERIFY_VOLUMES, f"{claims} PersistentVolumeClaims would have to be bound.", would_run=bind)
    ask = verify.http.url if verify and verify.http else ""
    draft.say(RestoreStep.VERIFY_HTTP, f"{ask} would be asked." if ask else "Not asked for.", would_run=bool(ask))
    suspends = any(step.name == RestoreStep.SUSPEND and step.would_run for step in draft.steps)
    draft.say(RestoreStep.RESUME, "What was suspended goes on." if suspends else "Nothing is.", would_run=suspends)
