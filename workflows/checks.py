"""The checks after a restore: each a step of its own, within the one bound of `verify.timeout`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow

from workflows.run import OperationRun, Stop, TimedOut

with workflow.unsafe.imports_passed_through():
    from activities.probes import ProbeActivities
    from activities.requests import Checked, CheckRequest
    from activities.rollouts import RolloutActivities
    from operation_engine.domain import lifecycle
    from operation_engine.domain.policy import Verification
    from operation_engine.domain.resources.common import format_go_duration
    from operation_engine.domain.resources.operation_status import StepState
    from operation_engine.domain.resources.reasons import Reason
    from operation_engine.domain.steps import RestoreStep
    from operation_engine.domain.verdicts import Outcome

MARGIN = timedelta(minutes=1)
"""Longer than the activity's own bound, which has the words for what is missing."""
NOT_ASKED = "Not asked for."


@dataclass
class Checks:
    """What must hold in the destination, looked at one after the other."""

    operation: OperationRun
    wanted: Verification
    namespace: str
    held: tuple[str, ...] = ()
    """What was checked and held, for the condition Verified."""
    must_count: Callable[[], None] = lambda: None
    """Raises where what is checked does not count any more."""

    async def run(self, workloads: Sequence[str], claims: Sequence[str]) -> None:
        """Raises Stop with VerificationFailed at the first that does not hold."""
        until = self.operation.now() + self.wanted.timeout
        await self._check(
            RestoreStep.VERIFY_WORKLOADS,
            RolloutActivities.await_workloads,
            workloads if self.wanted.workloads_ready else None,
            until,
        )
        await self._check(
            RestoreStep.VERIFY_VOLUMES,
            RolloutActivities.await_volumes,
            claims if self.wanted.volumes_bound else None,
            until,
        )
        url = self.wanted.url
        await self._check(RestoreStep.VERIFY_HTTP, ProbeActivities.await_http, (url,) if url else None, until)

    async def _check(self, step: str, verb: Callable[..., Any], names: Sequence[str] | None, until: datetime) -> None:
        operation = self.operation
        if not names:
            operation.end(step, NOT_ASKED if names is None else "There are none.", StepState.SKIPPED)
            return
        operation.begin(step)
        checked = await self._answer(step, verb, names, until)
        if checked.verdict.outcome != Outcome.PASSED:
            raise self._failed(checked.verdict.message)
        self.held = (*self.held, checked.verdict.message)
        operation.end(step, checked.verdict.message)

    async def _answer(self, step: str, verb: Callable[..., Any], names: Sequence[str], until: datetime) -> Checked:
        operation, patience = self.operation, format_go_duration(self.wanted.timeout)
        request = CheckRequest(
            ref=operation.ref,
            report=operation.report(),
            namespace=self.namespace,
            names=tuple(names),
            until=until,
            patience=patience,
        )
        within = max(until - operation.now(), timedelta(0)) + MARGIN
        try:
            checked: Checked = await operation.follow(verb, request, summary=f"{step} ({len(names)})", within=within)
        except TimedOut as bound:
            raise self._failed(f"{step} could not be looked at for {patience}: {bound}") from None
        operation.written(checked.status)
        self.must_count()
        return checked

    def _failed(self, message: str) -> Stop:
        operation = self.operation
        reason = Reason.VERIFICATION_FAILED
        operation.next = lifecycle.verified(operation.next, False, reason, message, operation.now())
        return Stop(reason, message)
