"""`vop retry` and `vop abort`: a person's decision about failed work, sent as an Update to the Operation's workflow."""

import asyncio
from typing import Any

from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from operation_engine.domain.decisions import Verb
from operation_engine.domain.resources.operation import Operation
from operation_engine.domain.resources.operation_status import OperationStatus
from operation_engine.domain.resources.reasons import Reason
from operation_engine.runtime.kubernetes import OPERATIONS, KubernetesApi, KubernetesError, NotFound, Resource

ANSWERED_WITHIN_S = 20.0
_REVIEWS = Resource("authentication.k8s.io", "v1", "selfsubjectreviews")


class Undecided(Exception):
    """The decision does not count; the text says why."""


async def decide(api: KubernetesApi, client: Client, verb: Verb, name: str) -> str:
    """Send the decision about `NAMESPACE/NAME`; what came of it, as a sentence. Raises Undecided."""
    status = await _asked(api, name)
    attempt, claim = status.attempt, status.workflow
    if claim is None:
        raise Undecided(f"Operation {name} has no workflow.")
    payload = {"attempt": attempt, "by": await _who(api)}
    try:
        async with asyncio.timeout(ANSWERED_WITHIN_S):
            answer = await client.get_workflow_handle(claim.id).execute_update(str(verb), payload, result_type=str)
    except WorkflowUpdateFailedError as error:
        raise Undecided(error.cause.message if isinstance(error.cause, ApplicationError) else str(error)) from error
    except RPCError as error:
        raise Undecided(f"Temporal refused: {error.message}") from error
    except TimeoutError as error:
        raise Undecided(
            f"No worker has answered for {ANSWERED_WITHIN_S:.0f} s. The decision may still count when one is back: "
            f"look at status.decision of {name} before you send it again."
        ) from error
    return f"{verb} of attempt {attempt} of Operation {name}: {answer}"


async def _asked(api: KubernetesApi, name: str) -> OperationStatus:
    """The status of an Operation that waits for a decision."""
    namespace, slash, own = name.partition("/")
    if not (namespace and slash and own):
        raise Undecided(f"{name} is not NAMESPACE/NAME")
    try:
        manifest: dict[str, Any] = await api.get(OPERATIONS, own, namespace)
    except NotFound as error:
        raise Undecided(f"There is no Operation {own} in namespace {namespace}.") from error
    except KubernetesError as error:
        raise Undecided(str(error)) from error
    status = Operation.from_api(manifest).status
    if status.reason != Reason.AWAITING_DECISION:
        raise Undecided(f"Operation {name} does not wait for a decision: it is {status.phase} ({status.reason}).")
    return status


async def _who(api: KubernetesApi) -> str:
    """By whom the API server knows the caller."""
    body = {"apiVersion": _REVIEWS.api_version, "kind": "SelfSubjectReview"}
    try:
        review = await api.create(_REVIEWS, body)
    except KubernetesError:
        return "vop"
    return str(review["status"]["userInfo"]["username"])
