"""The connection to Temporal: one data converter for every client and worker, search attributes, runs by id.

Used by the composition roots, the controller and `records` (to ask who holds a claim).
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any

import temporalio.api.common.v1
import temporalio.api.failure.v1
import temporalio.api.operatorservice.v1 as operator_api
import temporalio.api.workflowservice.v1 as service_api
from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType, WorkflowExecutionStatus
from temporalio.client import Client
from temporalio.contrib.pydantic import PydanticPayloadConverter, ToJsonOptions
from temporalio.converter import DataConverter, DefaultFailureConverter, PayloadConverter
from temporalio.exceptions import ApplicationError
from temporalio.runtime import LogForwardingConfig, LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter
from temporalio.service import RPCError, RPCStatusCode

from operation_engine.domain.claim import Holder, HolderState
from operation_engine.domain.resources.operation_status import WorkflowClaim
from operation_engine.domain.search import SEARCH_ATTRIBUTES
from operation_engine.runtime.http import Health
from operation_engine.runtime.settings import Settings
from operation_engine.runtime.telemetry import get_logger

_log = get_logger(__name__)
_RETRY_S = 5.0
_RPC_TIMEOUT = timedelta(seconds=10)


class _CompactPayloads(PydanticPayloadConverter):
    """JSON without the fields nobody set: people read these payloads in the UI."""

    def __init__(self) -> None:
        super().__init__(to_json_options=ToJsonOptions(exclude_unset=True))


class _PlainFailures(DefaultFailureConverter):
    """Our own verdicts are sentences for people: the UI would print a traceback under them."""

    def to_failure(
        self,
        exception: BaseException,
        payload_converter: PayloadConverter,
        failure: temporalio.api.failure.v1.Failure,
    ) -> None:
        super().to_failure(exception, payload_converter, failure)
        if isinstance(exception, ApplicationError):
            failure.stack_trace = ""


DATA_CONVERTER = replace(
    DataConverter.default, payload_converter_class=_CompactPayloads, failure_converter_class=_PlainFailures
)


async def connect(settings: Settings, *, lazily: bool = False) -> Client:
    """A client. Raises RuntimeError or RPCError when Temporal is not there; `lazily`, only when it is first asked."""
    return await Client.connect(
        settings.temporal_address,
        namespace=settings.temporal_namespace,
        data_converter=DATA_CONVERTER,
        runtime=_runtime(),
        lazy=lazily,
    )


@cache
def _runtime() -> Runtime:
    """The SDK's core with its log lines in the form of ours; by itself it writes text to stderr."""
    forwarding = LogForwardingConfig(logger=logging.getLogger("temporalio.core"))
    wanted = TelemetryFilter(core_level="WARN", other_level="ERROR")
    return Runtime(telemetry=TelemetryConfig(logging=LoggingConfig(filter=wanted, forwarding=forwarding)))


async def connect_patiently(settings: Settings) -> Client:
    """A client, however long Temporal takes to come up."""
    while True:
        try:
            return await connect(settings)
        except (RuntimeError, RPCError) as error:
            _log.warning("Temporal is not there yet", address=settings.temporal_address, error=str(error))
            await asyncio.sleep(_RETRY_S)


@asynccontextmanager
async def connection_checked(client: Client, health: Health) -> AsyncIterator[None]:
    """Ask Temporal every few seconds whether it serves, for as long as the block lasts; readiness follows."""
    fault: str | None = "not asked yet"

    async def ask() -> None:
        nonlocal fault
        while True:
            try:
                await client.service_client.check_health(timeout=_RPC_TIMEOUT)
                fault = None
            except RPCError as error:
                fault = f"Temporal does not serve: {error.message}"
            await asyncio.sleep(_RETRY_S)

    health.ready["temporal"] = lambda: fault
    task = asyncio.create_task(ask(), name="temporal health")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class Runs:
    """What Temporal knows of workflow runs."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def first_run_id(self, workflow_id: str, run_id: str) -> str:
        """The first run of this run's chain: a Reset keeps it, a new start does not."""
        try:
            description = await self._client.get_workflow_handle(workflow_id, run_id=run_id).describe()
        except ValueError:
            return run_id  # this SDK cannot read a paused run
        return description.raw_info.first_run_id or run_id

    async def holder(self, claim: WorkflowClaim) -> Holder:
        """The state of a claim's holder, and the latest run under its workflow id."""
        try:
            held = await self._client.get_workflow_handle(claim.id, run_id=claim.run_id).describe()
            latest = await self._client.get_workflow_handle(claim.id).describe()
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                return Holder(state=HolderState.UNKNOWN_TO_TEMPORAL)
            raise
        except ValueError:
            return Holder(state=HolderState.OPEN)  # this SDK cannot read a paused run, which is an open one
        closed = held.raw_info.status != WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING
        return Holder(
            state=HolderState.CLOSED if closed else HolderState.OPEN,
            first_run_id=latest.raw_info.first_run_id or latest.run_id,
            latest_run_id=latest.run_id,
        )


async def missing_search_attributes(client: Client) -> list[str]:
    """Search attributes that workflows set and the namespace does not have: tasks would fail for ever."""
    answer = await client.operator_service.list_search_attributes(
        operator_api.ListSearchAttributesRequest(namespace=client.namespace)
    )
    return sorted(set(SEARCH_ATTRIBUTES) - set(answer.custom_attributes))


async def set_up(settings: Settings) -> list[str]:
    """Make the namespace and its search attributes; both may be there already. Returns what was made."""
    done = []
    anywhere = await Client.connect(settings.temporal_address, data_converter=DATA_CONVERTER)
    if await _make_namespace(anywhere, settings):
        done.append(f"namespace {settings.temporal_namespace}")
    client = await connect(settings)
    missing = await missing_search_attributes(client)
    if missing:
        keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
        await client.operator_service.add_search_attributes(
            operator_api.AddSearchAttributesRequest(
                namespace=settings.temporal_namespace, search_attributes=dict.fromkeys(missing, keyword)
            )
        )
        done.append(f"search attributes {', '.join(missing)}")
    # A new namespace takes a moment to know them, and tells nobody.
    while await missing_search_attributes(client):  # noqa: ASYNC110
        await asyncio.sleep(0.2)
    return done


async def _make_namespace(client: Client, settings: Settings) -> bool:
    retention = Duration(seconds=int(timedelta(days=settings.retention_days).total_seconds()))
    request = service_api.RegisterNamespaceRequest(
        namespace=settings.temporal_namespace,
        description="vWorkspace Operations",
        workflow_execution_retention_period=retention,
    )
    try:
        await client.workflow_service.register_namespace(request)
    except RPCError as error:
        if error.status == RPCStatusCode.ALREADY_EXISTS:
            return False
        raise
    await _namespace_known(client, settings.temporal_namespace)
    return True


async def _namespace_known(client: Client, namespace: str) -> None:
    """A namespace is registered first and served a little later (its cache is refreshed every second or so)."""
    request: Any = service_api.DescribeNamespaceRequest(namespace=namespace)
    while True:
        try:
            await client.workflow_service.describe_namespace(request)
            return
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise
        await asyncio.sleep(0.2)
