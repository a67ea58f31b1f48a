"""Where this project's errors become Temporal failures: once, at the edge, for every activity.

A failure's type is what workflows read: a Reason, `Fenced`, `AttemptOfAnotherRun`, or `Unavailable` (tried again).
"""

from typing import Any

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from operation_engine.domain.lifecycle import bounded
from operation_engine.domain.resources.reasons import Reason
from operation_engine.records.announcer import announced
from operation_engine.records.operations import AttemptOfAnotherRun, Fenced, OperationGone
from operation_engine.runtime.kubernetes import KubernetesError, NotFound, Unavailable
from operation_engine.runtime.telemetry import get_logger

FENCED = "Fenced"
UNAVAILABLE = "Unavailable"
ATTEMPT_OF_ANOTHER_RUN = "AttemptOfAnotherRun"
_log = get_logger(__name__)


class Failures(Interceptor):
    """Give to the worker; translates errors and puts the workflow's identity on every log line."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        return _Translating(next)


class _Translating(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        info = activity.info()
        with structlog.contextvars.bound_contextvars(
            workflow_id=info.workflow_id, run_id=info.workflow_run_id, activity=info.activity_type
        ):
            try:
                async with announced():
                    return await super().execute_activity(input)
            except (Fenced, OperationGone, AttemptOfAnotherRun, KubernetesError) as error:
                _log.warning("activity failed", error=str(error), kind=type(error).__name__, tries=info.attempt)
                raise translated(error) from None
            except Exception:
                _log.exception("activity failed unexpectedly", tries=info.attempt)
                raise


def translated(error: Exception) -> ApplicationError:
    """The Temporal failure that stands for one of our errors; its text is cut, its type tells what to do."""
    text = bounded(str(error))
    if isinstance(error, Unavailable):
        return ApplicationError(text, type=UNAVAILABLE)
    if isinstance(error, Fenced | OperationGone):
        return ApplicationError(text, type=FENCED, non_retryable=True)
    if isinstance(error, AttemptOfAnotherRun):
        return ApplicationError(text, type=ATTEMPT_OF_ANOTHER_RUN, non_retryable=True)
    if isinstance(error, NotFound):
        return ApplicationError(text, type=Reason.DEPENDENCY_MISSING, non_retryable=True)
    return ApplicationError(text, type=Reason.ENGINE_UNAVAILABLE, non_retryable=True)
