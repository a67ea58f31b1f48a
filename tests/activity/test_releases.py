"""HelmReleases stand still for one Restore and go on as they were, whoever crashes and whoever else writes."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_asyncio
from support import reports
from support.acting import Acting, FaultyApi, run_of
from support.flux import HelmReleases, helm_release, helm_releases_known
from support.kube import Kubectl, Operations
from support.world import fresh_namespace

from activities import releases as releases_module
from activities.releases import ReleaseActivities
from activities.safeguard_requests import DestinationRequest, ResumeRequest, Suspended
from local_cluster.cluster import LocalCluster
from operation_engine.domain.identity import OperationRef
from operation_engine.domain.report import StatusReport
from operation_engine.records.operations import OperationStore
from operation_engine.records.suspension import Suspensions

BY, WAS = "ops.vworkspace.io/suspended-by", "ops.vworkspace.io/suspend-was"


@pytest.fixture
def releases(kubectl: Kubectl) -> HelmReleases:
    return HelmReleases(kubectl)


@pytest.fixture
def flux(api: FaultyApi, store: OperationStore) -> ReleaseActivities:
    return ReleaseActivities(store, Suspensions(api))


@pytest_asyncio.fixture
async def report(store: OperationStore, ref: OperationRef) -> StatusReport:
    return reports.admitted(await store.claim(ref, run_of(ref), reports.first))


@pytest.fixture
def request_(ref: OperationRef, report: StatusReport) -> DestinationRequest:
    return DestinationRequest(ref=ref, report=report, source=ref.namespace, destination=ref.namespace)


async def test_without_flux_there_is_nothing_to_suspend(
    flux: ReleaseActivities, act: Acting, ref: OperationRef, request_: DestinationRequest
) -> None:
    suspended: Suspended = await act(flux.suspend_releases, request_)
    assert suspended.releases == ()
    assert await act(flux.resume_releases, ResumeRequest(ref=ref)) == ()


@pytest.fixture(scope="class")
def flux_installed(kubectl: Kubectl, cluster: LocalCluster) -> Iterator[None]:
    with helm_releases_known(kubectl, cluster):
        yield


@pytest.mark.usefixtures("flux_installed")
class TestWithFlux:
    """The cluster knows HelmReleases."""

    @pytest.mark.parametrize("before", [None, False, True])
    async def test_a_release_comes_back_as_it_was(
        self,
        flux: ReleaseActivities,
        act: Acting,
        ref: OperationRef,
        request_: DestinationRequest,
        kubectl: Kubectl,
        releases: HelmReleases,
        before: bool | None,
    ) -> None:
        kubectl.apply(helm_release(ref.namespace, **({} if before is None else {"suspend": before})))
        suspended: Suspended = await act(flux.suspend_releases, request_)
        assert suspended.releases == (f"{ref.namespace}/web",)
        assert releases.suspend(ref.namespace) is True
        was = {None: "absent", False: "false", True: "true"}[before]
        assert releases.marks(ref.namespace) == {BY: ref.uid, WAS: was}

        again: Suspended = await act(flux.suspend_releases, request_)
        assert again.releases == suspended.releases
        assert releases.marks(ref.namespace)[WAS] == was, "a second try must not take our own work for theirs"

        assert await act(flux.resume_releases, ResumeRequest(ref=ref)) == suspended.releases
        assert releases.suspend(ref.namespace) is before
        assert releases.marks(ref.namespace) == {}
        assert await act(flux.resume_releases, ResumeRequest(ref=ref)) == ()

    async def test_a_release_elsewhere_is_found_by_its_target_and_a_stranger_s_is_left_alone(
        self,
        flux: ReleaseActivities,
        act: Acting,
        ref: OperationRef,
        request_: DestinationRequest,
        kubectl: Kubectl,
        releases: HelmReleases,
    ) -> None:
        with fresh_namespace(kubectl) as system:
            ours = helm_release(system, "ours", targetNamespace=ref.namespace)
            kubectl.apply(ours, helm_release(system, "theirs"), helm_release(ref.namespace, targetNamespace=system))
            suspended: Suspended = await act(flux.suspend_releases, request_)
            assert suspended.releases == (f"{system}/ours",)
            assert releases.suspend(system, "theirs") is None
            assert releases.suspend(ref.namespace) is None
            await act(flux.resume_releases, ResumeRequest(ref=ref))

    async def test_what_somebody_resumed_meanwhile_stays_resumed(
        self,
        flux: ReleaseActivities,
        act: Acting,
        ref: OperationRef,
        request_: DestinationRequest,
        kubectl: Kubectl,
        releases: HelmReleases,
    ) -> None:
        kubectl.apply(helm_release(ref.namespace, suspend=True))
        await act(flux.suspend_releases, request_)
        releases.patch('{"spec":{"suspend":false}}', ref.namespace)
        await act(flux.resume_releases, ResumeRequest(ref=ref))
        assert releases.suspend(ref.namespace) is False
        assert releases.marks(ref.namespace) == {}

    async def test_a_write_that_meets_another_s_is_made_on_what_stands_then(
        self,
        flux: ReleaseActivities,
        act: Acting,
        ref: OperationRef,
        request_: DestinationRequest,
        kubectl: Kubectl,
        releases: HelmReleases,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        kubectl.apply(helm_release(ref.namespace))
        plain, met = Suspensions._patch, []

        async def late(self: Suspensions, release: Any, patch: Any) -> Any:
            if not met:
                met.append(release)
                await asyncio.to_thread(releases.patch, '{"spec":{"interval":"9m"}}', ref.namespace)
            return await plain(self, release, patch)

        monkeypatch.setattr(Suspensions, "_patch", late)
        await act(flux.suspend_releases, request_)
        spec = releases.get(ref.namespace)["spec"]
        assert (spec["suspend"], spec["interval"]) == (True, "9m")
        await act(flux.resume_releases, ResumeRequest(ref=ref))

    async def test_it_waits_until_flux_has_let_go(
        self,
        flux: ReleaseActivities,
        act: Acting,
        ref: OperationRef,
        request_: DestinationRequest,
        kubectl: Kubectl,
        releases: HelmReleases,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(releases_module, "LOOK_EVERY_S", 0.1)
        kubectl.apply(helm_release(ref.namespace))
        releases.say("Reconciling", "True", ref.namespace)
        suspending = asyncio.create_task(act(flux.suspend_releases, request_))
        await act.beat.wait()
        assert not suspending.done()
        await asyncio.to_thread(releases.say, "Reconciling", "False", ref.namespace)
        assert (await suspending).busy == ()
        await asyncio.to_thread(releases.say, "Reconciling", "True", ref.namespace)
        monkeypatch.setattr(releases_module, "SETTLED_WITHIN_S", 0.3)
        assert (await act(flux.suspend_releases, request_)).busy == (f"{ref.namespace}/web",)
        await act(flux.resume_releases, ResumeRequest(ref=ref))

    async def test_a_run_that_lost_its_claim_resumes_nothing_and_one_whose_operation_is_gone_does(
        self,
        flux: ReleaseActivities,
        act: Acting,
        ref: OperationRef,
        request_: DestinationRequest,
        kubectl: Kubectl,
        releases: HelmReleases,
        operations: Operations,
    ) -> None:
        with fresh_namespace(kubectl) as system:
            kubectl.apply(helm_release(system, targetNamespace=ref.namespace))
            await act(flux.suspend_releases, request_)
            assert await Acting(run_of(ref, "run-2"))(flux.resume_releases, ResumeRequest(ref=ref)) == ()
            assert releases.suspend(system) is True
            kubectl("delete", "operation", ref.name, "-n", ref.namespace)
            assert await act(flux.resume_releases, ResumeRequest(ref=ref)) == (f"{system}/web",)
            assert releases.suspend(system) is None
