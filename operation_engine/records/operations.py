"""How an Operation is kept: read, claimed, and its status written whole by compare-and-swap.

Every activity enters through `write`: that one write is the fence. It goes through only for the run that holds the
claim, and only for a report that comes after the one written last; what comes late changes nothing.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from operation_engine.domain import attempts, lifecycle, progress
from operation_engine.domain.claim import RunIdentity, Standing, may_take_over, standing, why_fenced
from operation_engine.domain.identity import OperationRef, spec_digest, workflow_id, workflow_url
from operation_engine.domain.report import StatusReport, Transition, transitions
from operation_engine.domain.resources.operation import API_VERSION, Operation
from operation_engine.domain.resources.operation_status import AttemptCause, OperationStatus, WorkflowClaim
from operation_engine.records.announcer import Announcer
from operation_engine.runtime.kubernetes import (
    OPERATIONS,
    Conflict,
    KubernetesApi,
    Manifest,
    NotFound,
    Unavailable,
)
from operation_engine.runtime.temporal import Runs

CACHED_OPERATIONS = 2000
MAX_ROUNDS = 20
OTHER_SPEC = "The Operation's spec is not the one that this workflow was started for."

_STAYS = ("approval", "decision", "outputs", "engine_ref", "logs_ref")
"""What an Operation keeps once it has it: who approved, what is restored, where Velero's work is found."""

Amend = Callable[[OperationStatus], OperationStatus]


class Fenced(Exception):
    """This run may not act for the Operation (any more): it ends and changes nothing."""


class AttemptOfAnotherRun(Exception):
    """A Reset's run came into an attempt that the run before it began: it has to begin one of its own."""


class OperationGone(Exception):
    """The Operation was deleted, or another of its name stands there."""


class Stored(NamedTuple):
    """An Operation as it stood at one resourceVersion."""

    operation: Operation
    digest: str


class OperationStore:
    """Operations as records. One for a worker; holds only what a compare-and-swap proves to be current."""

    def __init__(
        self, api: KubernetesApi, runs: Runs, announcer: Announcer, temporal_namespace: str, ui_url: str
    ) -> None:
        self._api, self._runs, self._announcer = api, runs, announcer
        self._temporal_namespace, self._ui_url = temporal_namespace, ui_url
        self._cache: OrderedDict[str, Stored] = OrderedDict()

    async def read(self, ref: OperationRef) -> Stored:
        """The Operation as it stands now. Raises OperationGone where it is not the one that was meant."""
        try:
            manifest = await self._api.get(OPERATIONS, ref.name, ref.namespace)
        except NotFound as error:
            raise OperationGone(f"Operation {ref.namespace}/{ref.name} is gone.") from error
        if manifest["metadata"]["uid"] != ref.uid:
            raise OperationGone(f"Operation {ref.namespace}/{ref.name} was deleted and created anew.")
        return self._remember(manifest)

    async def current(self, ref: OperationRef) -> Operation:
        """The Operation as last read or written here; its spec is immutable."""
        stored = self._cache.get(ref.uid) or await self.read(ref)
        return stored.operation

    async def claim(self, ref: OperationRef, own: RunIdentity, plan: Amend) -> OperationStatus:
        """Make the Operation this run's own, with its plan as the first status. Raises Fenced, OperationGone.

        Repeated by the holder it changes nothing; a Reset's run takes over and begins again.
        """
        for _ in range(MAX_ROUNDS):
            stored = await self.read(ref)
            live = stored.operation.status
            if standing(own, live) == Standing.HELD and live.steps and not _was_pointed_to(live):
                return live
            await self._check_claim(own, stored)
            claimed = live.model_copy(update={"workflow": await self._new_claim(own, stored)})
            planned = lifecycle.observe_generation(plan(claimed), stored.operation.metadata.generation)
            after = _numbered(live, planned, 0)
            if await self._put(stored, after.status) is not None:
                await self._announcer.tell(stored.operation, after, fresh=True)
                return after.status
        raise Unavailable(f"Operation {ref.namespace}/{ref.name}: every write met another writer")

    async def write(self, ref: OperationRef, own: RunIdentity, report: StatusReport) -> OperationStatus:
        """Write a report's status and announce what changed. Returns the status as it stands.

        Raises Fenced where the claim is another's or a newer report stands, OperationGone, and Unavailable.
        """
        return await self._write(ref, own, report, lambda live: report.status)

    async def write_in_attempt(self, ref: OperationRef, own: RunIdentity, report: StatusReport) -> OperationStatus:
        """`write` for steps that change what is restored into: only in an attempt that this very run began.

        Raises AttemptOfAnotherRun, and as `write` does. What the run before began may still be at work.
        """
        status = await self.write(ref, own, report)
        attempt = attempts.find(status, status.attempt)
        if attempt is not None and attempt.run_id != own.run_id:
            raise AttemptOfAnotherRun(f"Attempt {status.attempt} was begun by the run before a Reset.")
        return status

    async def write_numbers(self, ref: OperationRef, own: RunIdentity, report: StatusReport) -> OperationStatus:
        """Write a report's live numbers and message once more, as they move. Raises as `write` does."""
        return await self._write(ref, own, report, lambda live: report.status, again=True)

    async def amend(self, ref: OperationRef, change: Callable[[OperationStatus], OperationStatus | None]) -> bool:
        """Write what is known from outside of any run; `change` is asked anew after each conflict, None = no more.

        Whether it was written. Raises OperationGone, Unavailable.
        """
        for _ in range(MAX_ROUNDS):
            stored = await self.read(ref)
            live = stored.operation.status
            wanted = change(live)
            if wanted is None:
                return False
            after = _numbered(live, lifecycle.observe_generation(wanted, stored.operation.metadata.generation), 0)
            if await self._put(stored, after.status) is not None:
                await self._announcer.tell(stored.operation, after, fresh=True)
                return True
        raise Unavailable(f"Operation {ref.namespace}/{ref.name}: every write met another writer")

    def url(self, workflow_id: str, run_id: str) -> str:
        """The page of a run in the Temporal UI."""
        return workflow_url(self._ui_url, self._temporal_namespace, workflow_id, run_id)

    async def begin_attempt(
        self, ref: OperationRef, own: RunIdentity, report: StatusReport, after: int, cause: AttemptCause
    ) -> OperationStatus:
        """Write a report together with a new attempt: its number and its Velero object's name, before that exists."""
        is_new = False

        def amend(live: OperationStatus) -> OperationStatus:
            nonlocal is_new
            base = report.status.model_copy(update={"attempts": attempts.merge(live.attempts, report.status.attempts)})
            allocated = attempts.allocate(base, ref, own.run_id, after, cause, _now())
            is_new = attempts.find(live, allocated.attempt) is None
            return allocated

        status = await self._write(ref, own, report, amend)
        if is_new:
            self._announcer.attempt_began(await self.current(ref), cause)
        return status

    async def _write(
        self, ref: OperationRef, own: RunIdentity, report: StatusReport, amend: Amend, *, again: bool = False
    ) -> OperationStatus:
        for _ in range(MAX_ROUNDS):
            cached = self._cache.get(ref.uid)
            stored = cached or await self.read(ref)
            live, claim = stored.operation.status, stored.operation.status.workflow
            is_held = standing(own, live) == Standing.HELD
            is_told = claim is not None and (report.is_late(claim) or (report.is_written(claim) and not again))
            if cached is not None and (is_told or not is_held):
                # What was remembered here says so; somebody may have written since: only a fresh look counts.
                self._cache.pop(ref.uid, None)
                continue
            if claim is None or not is_held:
                claim = await self._taken_over(own, stored)
            elif is_told:
                return await self._written_before(stored, report, claim)
            if claim.spec_digest not in (None, stored.digest):
                raise Fenced(OTHER_SPEC)
            after = _on_top(stored, report, amend, claim)
            if _says_nothing_new(after.status, stored.operation.status):
                return stored.operation.status
            if await self._put(stored, after.status) is not None:
                await self._announcer.tell(stored.operation, after, fresh=True)
                return after.status
        raise Unavailable(f"Operation {ref.namespace}/{ref.name}: every write met another writer")

    async def _written_before(self, stored: Stored, report: StatusReport, claim: WorkflowClaim) -> OperationStatus:
        live = stored.operation.status
        if report.is_late(claim):
            raise Fenced(f"This run has reported since: report {report.serial} comes after {claim.report}.")
        told = report.model_copy(update={"status": live, "transitions": report.told_again(live, claim)})
        await self._announcer.tell(stored.operation, told, fresh=False)
        return live

    async def _taken_over(self, own: RunIdentity, stored: Stored) -> WorkflowClaim:
        """The claim of a run that takes the Operation from another. Raises Fenced where it may not."""
        await self._check_claim(own, stored)
        return await self._new_claim(own, stored)

    async def _check_claim(self, own: RunIdentity, stored: Stored) -> None:
        live, meta = stored.operation.status, stored.operation.metadata
        if own.workflow_id != workflow_id(OperationRef(namespace=meta.namespace or "", name=meta.name, uid=meta.uid)):
            raise Fenced(
                f"This run changes nothing: its workflow's id is not the one of Operation {meta.namespace}/{meta.name}."
            )
        where = standing(own, live)
        if where == Standing.ASK and live.workflow is not None:
            holder = await self._runs.holder(live.workflow)
            where = Standing.HELD if may_take_over(own, live.workflow, holder, live) else Standing.FENCED
        if where == Standing.FENCED:
            raise Fenced(why_fenced(live))
        if live.workflow is not None and live.workflow.spec_digest not in (None, stored.digest):
            raise Fenced(OTHER_SPEC)

    async def _new_claim(self, own: RunIdentity, stored: Stored) -> WorkflowClaim:
        return WorkflowClaim(
            id=own.workflow_id,
            run_id=own.run_id,
            first_run_id=await self._runs.first_run_id(own.workflow_id, own.run_id),
            spec_digest=stored.digest,
            url=self.url(own.workflow_id, own.run_id),
        )

    async def _put(self, stored: Stored, status: OperationStatus) -> Stored | None:
        """The compare-and-swap: None when another writer came first."""
        meta = stored.operation.metadata
        body = {
            "apiVersion": API_VERSION,
            "kind": "Operation",
            "metadata": {
                "name": meta.name,
                "namespace": meta.namespace,
                "resourceVersion": meta.resource_version,
            },
            "status": _without_empty_lists(status.to_api()),
        }
        try:
            manifest = await self._api.replace_status(OPERATIONS, meta.name, meta.namespace or "", body)
        except Conflict:
            self._cache.pop(meta.uid, None)
            return None
        except NotFound as error:
            self._cache.pop(meta.uid, None)
            raise OperationGone(f"Operation {meta.namespace}/{meta.name} is gone.") from error
        except Unavailable:
            self._cache.pop(meta.uid, None)  # the write may have happened
            raise
        return self._remember(manifest)

    def _remember(self, manifest: Manifest) -> Stored:
        stored = Stored(_lean(Operation.from_api(manifest)), spec_digest(manifest["spec"]))
        if stored.operation.status.phase.terminal:
            self._cache.pop(stored.operation.metadata.uid, None)
            return stored
        self._cache[stored.operation.metadata.uid] = stored
        self._cache.move_to_end(stored.operation.metadata.uid)
        if len(self._cache) > CACHED_OPERATIONS:
            self._cache.popitem(last=False)
        return stored


def _on_top(stored: Stored, report: StatusReport, amend: Amend, claim: WorkflowClaim) -> StatusReport:
    """The report as it is written on what stands: attempts only grow, progress does not go back, numbers go on."""
    live = stored.operation.status
    wanted = attempts.rejoined(live, _with_what_stays(live, amend(live)))
    if live.attempt == wanted.attempt:
        wanted = wanted.model_copy(update={"progress": progress.latest(live.progress, wanted.progress)})
    held = claim.model_copy(update={"report": report.serial, "followed": live.seq})
    if report.serial == claim.report:
        held = claim  # live numbers, written again: what was told with this report is told by then
    observed = lifecycle.observe_generation(wanted, stored.operation.metadata.generation)
    return _numbered(live, observed.model_copy(update={"workflow": held}), report.serial)


def _with_what_stays(live: OperationStatus, wanted: OperationStatus) -> OperationStatus:
    """A Reset's run reports from before these were known; they hold all the same."""
    kept = {name: getattr(live, name) for name in _STAYS if getattr(wanted, name) is None}
    return wanted.model_copy(update=kept)


def _was_pointed_to(live: OperationStatus) -> bool:
    """The claim was given to a Reset's run, from outside, before that run wrote anything: it begins from here."""
    return live.phase.terminal and live.workflow is not None and live.workflow.report == 0


def _says_nothing_new(wanted: OperationStatus, live: OperationStatus) -> bool:
    """The same but for the report's serial number, which alone is worth no write."""
    if wanted.workflow is None or live.workflow is None or wanted.workflow.run_id != live.workflow.run_id:
        return False
    return wanted.model_copy(update={"workflow": live.workflow}) == live


def _lean(operation: Operation) -> Operation:
    """Without its annotations: a tenant may put a quarter of a megabyte there, and nothing is decided by them."""
    return operation.model_copy(update={"metadata": operation.metadata.model_copy(update={"annotations": {}})})


def _without_empty_lists(status: Manifest) -> Manifest:
    """`kubectl wait` gives up at once on a list that is there and empty; on one that is absent it waits."""
    kept = {key: value for key, value in status.items() if value != []}
    if "outputs" in kept:
        kept["outputs"] = {key: value for key, value in kept["outputs"].items() if value != []}
    return kept


def _numbered(live: OperationStatus, wanted: OperationStatus, serial: int) -> StatusReport:
    found: Sequence[Transition] = transitions(live, wanted)
    status = wanted.model_copy(update={"seq": live.seq + len(found)})
    return StatusReport(status=status, serial=serial, transitions=tuple(found))


def _now() -> datetime:
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
