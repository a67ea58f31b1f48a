"""UnsupportedWorkflow: an Operation whose type is not built; it is claimed and refused, so that it has a history."""

from temporalio import workflow

from workflows.run import OperationRun, Stop, to_the_end

with workflow.unsafe.imports_passed_through():
    from operation_engine.domain.identity import OperationRef
    from operation_engine.domain.resources.operation_status import OperationStatus
    from operation_engine.domain.resources.reasons import Reason

ADMIT = "Admit"


@workflow.defn
class UnsupportedWorkflow:
    """One Operation that this engine cannot run."""

    @workflow.run
    async def run(self, ref: OperationRef) -> OperationStatus:
        """Never returns: fails with UnsupportedOperation, or with what else is wrong."""
        operation = OperationRun(ref)
        return await to_the_end(operation, _runbook(operation))


async def _runbook(operation: OperationRun) -> OperationStatus:
    await operation.claim([ADMIT])
    await operation.admit(ADMIT)
    raise Stop(Reason.UNSUPPORTED_OPERATION, f"spec.type {operation.facts.type} is not built yet.", refused=True)
