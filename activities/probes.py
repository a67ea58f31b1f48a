"""The activity that asks an application over HTTP whether it is back. Where it may go: `domain.probes`."""

import asyncio
import os
import socket
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import aiohttp
from temporalio import activity

from activities.operations import own_run
from activities.requests import Checked, CheckRequest
from operation_engine.domain import probes
from operation_engine.domain.probes import Address, NoSuchPlace, Place
from operation_engine.domain.resources.common import parse_duration
from operation_engine.domain.resources.operation_parameters import HttpCheck
from operation_engine.domain.resources.reasons import Reason
from operation_engine.domain.verdicts import Outcome, Verdict
from operation_engine.records.operations import OperationStore
from operation_engine.runtime.kubernetes import INGRESSES, PODS, SERVICES, KubernetesApi, NotFound

LOOK_EVERY_S = 2.0
LONGEST_REQUEST = timedelta(seconds=10)


class ProbeActivities:
    """Verbs that ask applications."""

    def __init__(self, api: KubernetesApi, store: OperationStore, session: aiohttp.ClientSession) -> None:
        self._api, self._store, self._session = api, store, session
        self._own = _own_addresses(api)

    @activity.defn
    async def await_http(self, request: CheckRequest) -> Checked:
        """Until the application answers as expected, or the time is up."""
        status = await self._store.write(request.ref, own_run(), request.report)
        parameters = (await self._store.current(request.ref)).spec.parameters
        check = parameters.verify.http if parameters.verify else None
        if check is None:
            raise ValueError("nothing is to be asked")
        while (fault := await self._fault(check, request.namespace)) is not None:
            activity.heartbeat(fault)
            if datetime.now(UTC) >= request.until:
                message = f"After {request.patience}: {check.url}: {fault}."
                verdict = Verdict(outcome=Outcome.FAILED, reason=Reason.VERIFICATION_FAILED, message=message)
                return Checked(status=status, verdict=verdict)
            await asyncio.sleep(LOOK_EVERY_S)
        message = f"{check.url} answered {check.expect_status or 200}."
        passed = Verdict(outcome=Outcome.PASSED, reason=Reason.VELERO_RESTORE_COMPLETED, message=message)
        return Checked(status=status, verdict=passed)

    async def _fault(self, check: HttpCheck, namespace: str) -> str | None:
        """What is wrong now; None = it answered as expected."""
        try:
            place = probes.place_of(check.url, namespace)
            address = await self._address(place, namespace)
            probes.refuse_own(address, self._own)
        except NoSuchPlace as error:
            return str(error)
        wanted, timeout = check.expect_status or 200, _timeout(check)
        try:
            answered = await ask(self._session, place, address, timeout)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return f"no answer from {address.ip}:{address.port} ({type(error).__name__})"
        return None if answered == wanted else f"it answered {answered}, not {wanted}"

    async def _address(self, place: Place, namespace: str) -> Address:
        if place.service is not None:
            try:
                service = await self._api.get(SERVICES, place.service, namespace)
            except NotFound:
                raise NoSuchPlace(f"there is no Service {place.service} in namespace {namespace}") from None
            selector = probes.service_selector(service)
            pods = (await self._api.list(PODS, namespace, labelSelector=selector))["items"]
            return probes.pod_address(service, pods, place.port)
        return probes.ingress_address(place, (await self._api.list(INGRESSES, namespace))["items"])


def _own_addresses(api: KubernetesApi) -> frozenset[str]:
    """Of the API server as pods know it, and of the engine itself."""
    found = {os.environ.get("KUBERNETES_SERVICE_HOST", ""), api.host}
    with suppress(OSError):
        found.add(socket.gethostbyname(socket.gethostname()))
    return frozenset(found - {""})


async def ask(session: aiohttp.ClientSession, place: Place, address: Address, timeout: timedelta) -> int:
    """The status code, and nothing of the body. No redirect is followed: it would lead elsewhere.

    Certificates are not checked: nothing is told to the application, and inside a cluster they are its own.
    """
    host = f"[{address.ip}]" if ":" in address.ip else address.ip
    url = f"{place.scheme}://{host}:{address.port}{place.path}"
    named = place.host if place.port in (80, 443) else f"{place.host}:{place.port}"
    total = aiohttp.ClientTimeout(total=timeout.total_seconds())
    name = place.host if place.scheme == "https" else None
    async with session.get(
        url, headers={"Host": named}, timeout=total, allow_redirects=False, ssl=False, server_hostname=name
    ) as response:
        return response.status


def _timeout(check: HttpCheck) -> timedelta:
    return min(LONGEST_REQUEST, parse_duration(check.timeout)) if check.timeout else LONGEST_REQUEST
