"""Activities on the Operation itself: claim it, admit it, write its status.

Called by every workflow. Each enters with the fence of `records.operations`.
"""

from datetime import UTC, datetime
from typing import Any

from temporalio import activity

from activities.requests import Claimed, ClaimRequest, CreateRequest, GateAnswer, StepRequest
from operation_engine.domain import steps
from operation_engine.domain.admission import Facts, Gate, admit
from operation_engine.domain.claim import RunIdentity
from operation_engine.domain.identity import OperationRef
from operation_engine.domain.lifecycle import Life, enter
from operation_engine.domain.policy import Clocks, Verification, clocks_of, verification_of
from operation_engine.domain.resources.operation import Operation
from operation_engine.domain.resources.operation_parameters import Cleanup
from operation_engine.domain.resources.operation_spec import OperationSpec, PartialFailure
from operation_engine.domain.resources.operation_status import OperationStatus
from operation_engine.domain.resources.reasons import Reason
from operation_engine.records.operations import OperationGone, OperationStore
from operation_engine.runtime.kubernetes import APPLICATION_INSTANCES, NAMESPACES, KubernetesApi, NotFound

_APPLICATION_INSTANCE = "ApplicationInstance"


def own_run() -> RunIdentity:
    """The workflow run that the current activity works for: from its context, never from the workflow's code."""
    info = activity.info()
    return RunIdentity(workflow_id=info.workflow_id or "", run_id=info.workflow_run_id or "")


async def is_left_to(store: OperationStore, ref: OperationRef, own: RunIdentity) -> bool:
    """Whether nobody but this run lets go of the Operation's work: not while another one goes on with it.

    An Operation that is gone has nobody else.
    """
    try:
        claim = (await store.read(ref)).operation.status.workflow
    except OperationGone:
        return True
    return claim is None or (claim.run_id == own.run_id and not claim.closed)


class OperationActivities:
    """Verbs on the Operation."""

    def __init__(self, api: KubernetesApi, store: OperationStore, *, require_managed_namespace: bool) -> None:
        self._api, self._store = api, store
        self._require_managed = require_managed_namespace

    @activity.defn
    async def claim_operation(self, request: ClaimRequest) -> Claimed:
        """Make the Operation this run's own, and show the plan."""
        now = datetime.now(UTC)
        spec = (await self._store.current(request.ref)).spec
        names = steps.applicable(request.steps, spec)
        status = await self._store.claim(request.ref, own_run(), lambda live: _first_status(live, names, now))
        return Claimed(
            status=status,
            type=spec.type,
            target=spec.target_ref.name,
            partial_failure=spec.policy.partial_failure or PartialFailure.FAIL,
            clocks=_clocks(spec),
            verification=_verification(spec),
            dry_run=bool(spec.policy.dry_run),
            deletes_leftovers=spec.parameters.cleanup == Cleanup.DELETE_RESTORED,
            cancel=spec.cancel,
        )

    @activity.defn
    async def admit_operation(self, request: StepRequest) -> GateAnswer:
        """Whether the Operation may run: its spec, its namespace, its target."""
        status = await self._store.write(request.ref, own_run(), request.report)
        return GateAnswer(status=status, gate=await self.admission(await self._store.current(request.ref)))

    @activity.defn
    async def write_report(self, request: StepRequest) -> OperationStatus:
        """Write the status and announce what changed."""
        return await self._store.write(request.ref, own_run(), request.report)

    @activity.defn
    async def begin_attempt(self, request: CreateRequest) -> OperationStatus:
        """A new attempt with the name that its Velero object will have; repeated after a crash it is the same one."""
        return await self._store.begin_attempt(request.ref, own_run(), request.report, request.after, request.cause)

    async def admission(self, operation: Operation) -> Gate:
        """Whether this Operation may run."""
        return admit(operation, await self._facts(operation))

    async def _facts(self, operation: Operation) -> Facts:
        namespace = await self._api.get(NAMESPACES, operation.metadata.namespace or "")
        found, release_namespace = await self._target(operation)
        return Facts(
            namespace_labels=namespace["metadata"].get("labels", {}),
            target_found=found,
            target_release_namespace=release_namespace,
            require_managed_namespace=self._require_managed,
        )

    async def _target(self, operation: Operation) -> tuple[bool, str | None]:
        """Whether the target is there, and the namespace that it releases into, where it says one."""
        target = operation.spec.target_ref
        if target.kind != _APPLICATION_INSTANCE:
            return True, None
        try:
            instance: dict[str, Any] = await self._api.get(
                APPLICATION_INSTANCES, target.name, operation.metadata.namespace
            )
        except NotFound:
            return False, None
        return True, instance.get("spec", {}).get("release", {}).get("namespace")


def _first_status(live: OperationStatus, names: tuple[str, ...], now: datetime) -> OperationStatus:
    """The first status of a run: the whole plan, its first step under way. A Reset's run begins again from here."""
    planned = steps.begin(steps.plan(live, names), names[0], _whole_ms(now))
    started = planned.model_copy(update={"started_at": _whole_ms(live.started_at or now), "progress": None})
    return enter(started, Life.CLAIMED, Reason.PENDING, "The engine has taken the Operation up.", _whole_ms(now))


def _whole_ms(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _clocks(spec: OperationSpec) -> Clocks | None:
    try:
        return clocks_of(spec)
    except ValueError:
        return None


def _verification(spec: OperationSpec) -> Verification:
    try:
        return verification_of(spec)
    except ValueError:
        return Verification()  # admission says which duration does not parse
