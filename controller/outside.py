"""The outside reconciler: ends Operations whose workflow ended without a word, and leaves no HelmRelease suspended.

Run by the controller. Once a round it asks Temporal for the open runs, in one listing, and looks closer only at what
does not fit; what to do is pure (`domain.outside`), and written by compare-and-swap: two controllers do no harm.
"""

import asyncio
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from temporalio.service import RPCError

from controller.decide import Seen
from operation_engine.domain import outside
from operation_engine.domain.identity import OperationRef, operation_of, workflow_id
from operation_engine.domain.outside import RunSeen, Verb
from operation_engine.domain.resources.operation_spec import OperationType
from operation_engine.domain.resources.operation_status import OperationStatus, Phase
from operation_engine.records.operations import OperationGone, OperationStore
from operation_engine.records.suspension import Suspensions
from operation_engine.runtime.ends import Ends
from operation_engine.runtime.kubernetes import KubernetesError, Refused, Unavailable
from operation_engine.runtime.telemetry import RECONCILES, get_logger
from operation_engine.runtime.watching import Key, Reflector

_REOPENABLE = (Phase.FAILED, Phase.CANCELLED)
_log = get_logger(__name__)


def suspects(all_seen: Iterable[Seen], running: Mapping[str, str]) -> list[Seen]:
    """Operations that do not fit the open runs: at work without one, or ended with another one than wrote the end.

    The listing lags behind by a moment, so these are to be asked about one by one.
    """
    found = []
    for seen in all_seen:
        run_id = running.get(workflow_id(seen.ref))
        is_left = run_id is None and not seen.phase.terminal
        if is_left or (run_id is not None and run_id != seen.run_id and seen.phase in _REOPENABLE):
            found.append(seen)
    return found


def forgotten(running: Iterable[str], all_seen: Iterable[Seen]) -> list[OperationRef]:
    """Operations that have an open run and, as it seems, are no more."""
    known = {seen.ref.uid for seen in all_seen}
    refs = [operation_of(id_) for id_ in running]
    return [ref for ref in refs if ref is not None and ref.uid not in known]


class Outside:
    """Looks from outside, every `every_s` seconds."""

    def __init__(
        self, watch: Reflector[Seen], ends: Ends, store: OperationStore, suspensions: Suspensions, every_s: float
    ) -> None:
        self._watch, self._ends, self._store = watch, ends, store
        self._suspensions, self._every_s = suspensions, every_s
        self._orphans: Sequence[str] = ()
        """Seen in the round before: the listing of runs lags, so one look is no proof."""

    async def run(self) -> None:
        """Look until cancelled; a round that fails is followed by another."""
        await self._watch.synced.wait()
        while True:
            try:
                await self.round()
            except (RPCError, KubernetesError, RuntimeError) as error:
                RECONCILES.labels(controller="outside", result="error").inc()
                _log.warning("looking from outside failed, trying again", error=str(error))
            except Exception:
                RECONCILES.labels(controller="outside", result="error").inc()
                _log.exception("looking from outside failed, trying again")
            await asyncio.sleep(self._every_s)

    async def round(self) -> None:
        """One look at everything. Raises RPCError, KubernetesError."""
        suspended_by = await self._suspensions.holders()
        running = await self._ends.running()
        index: Mapping[Key, Seen] = self._watch.index
        for seen in suspects(list(index.values()), running):
            await self._apart(self._look_closer(seen), seen.ref)
        for ref in forgotten(running, index.values()):
            await self._apart(self._call_off(ref), ref)
        await self._resume_orphans(suspended_by, running)

    async def _apart(self, look: Awaitable[None], ref: OperationRef) -> None:
        """One Operation that cannot be read, or is refused, must not end the round for all others."""
        try:
            await look
        except (RPCError, Unavailable):
            raise  # the other side is away, for everybody
        except Exception:
            RECONCILES.labels(controller="outside", result="error").inc()
            _log.exception("looked from outside in vain", namespace=ref.namespace, operation=ref.name)

    async def _look_closer(self, seen: Seen) -> None:
        ref, id_ = seen.ref, workflow_id(seen.ref)
        try:
            status = (await self._store.read(ref)).operation.status
            claim = status.workflow
            run = await self._ends.seen(id_, claim.first_run_id if claim else None, claim.run_id if claim else None)
            verb = outside.verb(status, run)
            is_done = verb != Verb.NOTHING and await self._do(verb, seen, status, run)
        except OperationGone:
            return
        if is_done:
            self._tell(verb, ref, run)

    async def _do(self, verb: Verb, seen: Seen, status: OperationStatus, run: RunSeen | None) -> bool:
        """Whether it was for us to do: somebody else may have been first."""
        ref = seen.ref
        if verb == Verb.REOPEN and run is not None:
            url = self._store.url(workflow_id(ref), run.run_id)
            return await self._amended(ref, status, lambda live: outside.pointed(live, run, url))
        resumed: Sequence[str] = ()
        if seen.type == OperationType.RESTORE and seen.claimed:
            # Closed first: nothing of the dead run suspends them again behind us.
            if not await self._amended(ref, status, outside.closed):
                return False
            resumed = await self._resumed(ref.uid)
        if verb == Verb.REPEAT and run is not None:
            return await self._amended(ref, status, lambda live: outside.repeated(live, run))
        now = _now()
        return await self._amended(ref, status, lambda live: outside.ended(live, run, ref, resumed, now))

    async def _amended(self, ref: OperationRef, decided_on: OperationStatus, change: outside.Change) -> bool:
        def unless_changed(live: OperationStatus) -> OperationStatus | None:
            return change(live) if outside.is_unchanged(live, decided_on) else None

        return await self._store.amend(ref, unless_changed)

    async def _resumed(self, uid: str) -> Sequence[str]:
        """The releases that go on again. One that the API server refuses stays, and is tried in every round."""
        try:
            return [str(release) for release in await self._suspensions.resume(uid)]
        except Refused as error:
            _log.error("HelmReleases are still suspended", operation_id=uid, error=str(error))
            return ()

    async def _call_off(self, ref: OperationRef) -> None:
        """Its workflow drains, resumes and ends. Asked of the API server: what cannot be parsed is still there."""
        try:
            await self._store.read(ref)
        except OperationGone:
            await self._ends.cancel(workflow_id(ref))
            RECONCILES.labels(controller="outside", result="called off").inc()
            _log.info("the Operation is gone, its workflow is called off", operation=ref.name, namespace=ref.namespace)

    async def _resume_orphans(self, suspended_by: Sequence[str], running: Mapping[str, str]) -> None:
        at_work = [seen.ref.uid for seen in self._watch.index.values() if not seen.phase.terminal]
        at_work += [ref.uid for ref in map(operation_of, running) if ref is not None]
        found = outside.orphans(suspended_by, at_work)
        for uid in set(found) & set(self._orphans):
            if resumed := await self._resumed(uid):
                RECONCILES.labels(controller="outside", result="resumed").inc()
                _log.info("HelmReleases go on: nobody works any more", operation_id=uid, releases=resumed)
        self._orphans = found

    def _tell(self, verb: Verb, ref: OperationRef, run: RunSeen | None) -> None:
        RECONCILES.labels(controller="outside", result=str(verb)).inc()
        _log.info(
            f"Operation {verb} from outside",
            namespace=ref.namespace,
            operation=ref.name,
            operation_id=ref.uid,
            run_id=run.run_id if run else None,
            workflow=str(run.how) if run else "unknown to Temporal",
        )


def _now() -> datetime:
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
