"""Reset and "Start Workflow Like This One" of a Restore, by the command line, on the whole stack.

To the first task, the last, and one in the middle; while Velero works, while a person decides, failed, and succeeded.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from support.engine import Engine
from support.flux import HelmReleases, helm_release, helm_releases_known
from support.history import History, conditions
from support.kube import Kubectl, Operations, backup, restore
from support.temporal import Temporal, workflow_id
from support.world import VELERO, config_map

from local_cluster.cluster import LocalCluster

Json = dict[str, Any]
FIRST, MIDDLE, LAST = "claim_operation", "create_restore", None
POINTS = {"first": FIRST, "middle": MIDDLE, "last": LAST}
# More than there is: the restore fails in its verification, after everything else was done.
TOO_MUCH = {"verify": {"minItems": 1000}}
AT_ONCE = {"decisionTimeout": "0s"}
WITHOUT_SAFETY = {"safetyBackup": False}


@pytest.fixture(scope="module")
def releases(kubectl: Kubectl, cluster: LocalCluster) -> Iterator[HelmReleases]:
    with helm_releases_known(kubectl, cluster):
        yield HelmReleases(kubectl)


@dataclass
class Shop:
    """A namespace that was backed up and has lost `settings` since; `stays` is still there. Flux installs into it."""

    namespace: str
    kubectl: Kubectl
    operations: Operations
    temporal: Temporal
    releases: HelmReleases

    def restore(self, until: str | None = None, **spec: Any) -> Json:
        """A Restore at its end, or when it gives a reason."""
        self.kubectl.apply(restore(self.namespace, "nightly", **spec))
        if until is not None:
            return self.operations.await_path(self.namespace, "restore", "{.status.reason}", until)
        ended = self.operations.await_end(self.namespace, "restore")
        self.temporal.await_end(workflow_id(ended))
        return ended

    def now(self) -> Json:
        return self.operations.get(self.namespace, "restore")

    def await_(self, path: str, value: str) -> Json:
        return self.operations.await_path(self.namespace, "restore", path, value)

    def ended(self, run_id: str) -> Json:
        """The Operation once this run of its workflow has ended."""
        self.temporal.await_end(workflow_id(self.now()), run_id)
        return self.now()

    def reset(self, operation: Json, point: str | None, **options: Any) -> str:
        """To the task that called an activity first, or the very last task; the new run's id."""
        claim = operation["status"]["workflow"]
        if point is None:
            to = self.temporal.task_ends(claim["id"], claim["runId"])[-1]
        else:
            to = self.temporal.task_that_called(point, claim["id"], claim["runId"])
        return self.temporal.reset(claim["id"], claim["runId"], to, **options)

    def made(self, operation: Json, kind: str, role: str) -> list[str]:
        """Velero's objects of an Operation, by name."""
        mine = f"ops.vworkspace.io/operation={operation['metadata']['uid']},ops.vworkspace.io/role={role}"
        found = self.kubectl.json("get", kind, "-n", VELERO, "-l", mine)["items"]
        return sorted(item["metadata"]["name"] for item in found)

    def check_one_restore_an_attempt(self, operation: Json) -> None:
        attempts = operation["status"]["attempts"]
        assert [a["number"] for a in attempts] == list(range(1, len(attempts) + 1))
        assert self.made(operation, "restores.velero.io", "main") == sorted(a["veleroName"] for a in attempts)

    def uids(self) -> dict[str, str]:
        found = self.kubectl.json("get", "configmaps", "-n", self.namespace)["items"]
        return {item["metadata"]["name"]: item["metadata"]["uid"] for item in found}


@pytest.fixture
def shop(
    engine: Engine,
    kubectl: Kubectl,
    operations: Operations,
    temporal: Temporal,
    releases: HelmReleases,
    namespace: str,
) -> Shop:
    kubectl.apply(config_map(namespace, "settings"), config_map(namespace, "stays"), backup(namespace, "nightly"))
    assert operations.await_end(namespace, "nightly")["status"]["phase"] == "Succeeded"
    kubectl("delete", "configmap", "settings", "-n", namespace)
    kubectl.apply(helm_release(namespace))
    return Shop(namespace, kubectl, operations, temporal, releases)


def told(operation: Json) -> list[tuple[int, str, str | None]]:
    return [(a["number"], a["cause"], a.get("outcome")) for a in operation["status"]["attempts"]]


def unclaimed(operation: Json) -> Json:
    """Without what the controller, seeing a Reset's run that is open for a moment, may have written beside the work."""
    status = {key: value for key, value in operation["status"].items() if key != "workflow"}
    return {"spec": operation["spec"], "status": status}


class TestSucceeded:
    """Nobody reopens a success; whoever tries is told why."""

    def test_a_reset_to_any_point_and_a_start_like_this_one_change_nothing(self, shop: Shop) -> None:
        operation = shop.restore()
        assert operation["status"]["phase"] == "Succeeded", operation["status"]["message"]
        id_ = workflow_id(operation)
        for point in (*POINTS.values(), "follow_restore", "verify_contents", "resume_releases"):
            run_id = shop.reset(operation, point)
            failure = shop.temporal.failure(id_, run_id)
            assert (failure is None) == (point is LAST), point
            assert failure is None or (failure.type == "Fenced" and "Succeeded is final" in failure.message)
        for other in (id_, f"{id_}-again"):
            failure = shop.temporal.failure(other, shop.temporal.start_like(operation, other))
            assert failure is not None
            assert failure.type == "Fenced", other
        assert shop.now() == operation, "not a letter was written"
        shop.check_one_restore_an_attempt(operation)
        assert len(shop.made(operation, "backups.velero.io", "safety")) == 1
        assert (shop.releases.suspend(shop.namespace), shop.releases.marks(shop.namespace)) == (None, {})


class TestFailed:
    @pytest.fixture
    def failed(self, shop: Shop) -> Json:
        operation = shop.restore(parameters={"cleanup": "DeleteRestored", **TOO_MUCH}, policy=AT_ONCE)
        assert operation["status"]["reason"] == "VerificationFailed", operation["status"]["message"]
        return operation

    @pytest.mark.parametrize("point", [FIRST, "find_backup", "begin_attempt", "create_safety_backup", MIDDLE])
    def test_a_reset_opens_it_again_for_an_attempt_of_its_own(self, shop: Shop, failed: Json, point: str) -> None:
        history, before = History(shop.kubectl, shop.namespace), shop.uids()
        assert shop.releases.suspend(shop.namespace) is None
        run_id = shop.reset(failed, point)
        operation = shop.ended(run_id)
        assert told(operation) == [(1, "Initial", "Failed"), (2, "Reset", "Failed")]
        shop.check_one_restore_an_attempt(operation)
        # Seeing the new run, the controller may have pointed the ended Operation to it before.
        opened, *rest = (status for status in history.statuses("restore") if "finishedAt" not in status)
        self.check_reopened(failed, opened, run_id)
        assert {s["outputs"]["backupName"] for s in (opened, *rest)} == {failed["status"]["outputs"]["backupName"]}
        # What the attempt before created is made anew; what was there before it is not touched.
        after = shop.uids()
        assert before["settings"] != after["settings"]
        assert before["stays"] == after["stays"]
        assert len(shop.made(operation, "backups.velero.io", "safety")) == 2
        messages = {s["name"]: s.get("message", "") for s in operation["status"]["steps"]}
        assert messages["SuspendReleases"] == f"Suspended: {shop.namespace}/web."
        assert (shop.releases.suspend(shop.namespace), shop.releases.marks(shop.namespace)) == (None, {})

    def check_reopened(self, failed: Json, opened: Json, run_id: str) -> None:
        assert opened["phase"] in ("Pending", "Running")
        assert "finishedAt" not in opened
        found = conditions(opened)
        assert found.items() >= {"Failed": "False", "Succeeded": "Unknown", "Reconciling": "True"}.items()
        assert "Stalled" not in found
        assert (opened["workflow"]["runId"], opened["workflow"]["firstRunId"]) == (
            run_id,
            failed["status"]["workflow"]["firstRunId"],
        )
        assert opened["seq"] > failed["status"]["seq"]

    def test_a_reset_to_the_check_that_failed_repeats_it_alone(self, shop: Shop, failed: Json) -> None:
        operation = shop.ended(shop.reset(failed, "verify_contents"))
        assert operation["status"]["reason"] == "VerificationFailed"
        assert told(operation) == [(1, "Initial", "Failed")]
        shop.check_one_restore_an_attempt(operation)

    def test_a_reset_to_the_last_task_and_a_start_like_this_one_change_nothing(self, shop: Shop, failed: Json) -> None:
        id_ = workflow_id(failed)
        failure = shop.temporal.failure(id_, shop.reset(failed, LAST))
        assert failure is not None
        assert failure.type == "VerificationFailed"
        for other in (id_, f"{id_}-again"):
            failure = shop.temporal.failure(other, shop.temporal.start_like(failed, other))
            assert failure is not None
            assert failure.type == "Fenced"
        assert unclaimed(shop.now()) == unclaimed(failed)
        shop.check_one_restore_an_attempt(failed)
        # A stranger's run came last; a Reset of the Operation's own run counts all the same.
        assert told(shop.ended(shop.reset(failed, FIRST))) == [(1, "Initial", "Failed"), (2, "Reset", "Failed")]


class TestWaiting:
    """Attempt 1 failed, and nobody has decided about it."""

    @pytest.fixture
    def waiting(self, shop: Shop) -> Json:
        return shop.restore(until="AwaitingDecision", parameters={**WITHOUT_SAFETY, **TOO_MUCH})

    @pytest.mark.parametrize("point", [FIRST, MIDDLE])
    def test_a_reset_makes_another_attempt_and_asks_about_that_one(self, shop: Shop, waiting: Json, point: str) -> None:
        id_ = workflow_id(waiting)
        # Both come after the point of the Reset, so Temporal brings them to the new run again.
        shop.temporal.signal(id_, "retry", {"attempt": 7})
        shop.temporal.signal(id_, "retry", None)
        run_id = shop.reset(waiting, point)
        shop.await_("{.status.attempt}", "2")
        operation = shop.await_("{.status.reason}", "AwaitingDecision")
        assert told(operation) == [(1, "Initial", "Failed"), (2, "Reset", "Failed")]
        assert operation["status"]["workflow"]["runId"] == run_id
        assert shop.releases.suspend(shop.namespace) is True
        assert "Attempt 1 does not wait for a decision: attempt 2 does" in shop.temporal.update(
            id_, "retry", {"attempt": 1}
        )
        shop.temporal.signal(id_, "abort", {"attempt": 2})
        operation = shop.ended(run_id)
        assert operation["status"]["reason"] == "AbortedByUser"
        shop.check_one_restore_an_attempt(operation)
        assert (shop.releases.suspend(shop.namespace), shop.releases.marks(shop.namespace)) == (None, {})

    def test_a_reset_to_the_last_task_goes_on_waiting_and_is_answered(self, shop: Shop, waiting: Json) -> None:
        run_id = shop.reset(waiting, LAST)
        assert unclaimed(shop.now()) == unclaimed(waiting)
        shop.kubectl("annotate", "operation", "restore", "-n", shop.namespace, "ops.vworkspace.io/abort=1")
        operation = shop.ended(run_id)
        assert (operation["status"]["reason"], told(operation)) == ("AbortedByUser", [(1, "Initial", "Failed")])
        assert operation["status"]["workflow"]["runId"] == run_id

    def test_a_decision_that_comes_again_with_a_reset_does_not_count_for_a_later_attempt(
        self, shop: Shop, waiting: Json
    ) -> None:
        """retry of 1 and abort of 2 were sent; Temporal sends both to the new run, which asks about attempt 3."""
        id_ = workflow_id(waiting)
        shop.temporal.signal(id_, "retry", {"attempt": 1})
        shop.await_("{.status.attempt}", "2")
        shop.await_("{.status.reason}", "AwaitingDecision")
        shop.temporal.signal(id_, "abort", {"attempt": 2})
        ended = shop.operations.await_end(shop.namespace, "restore")
        shop.temporal.await_end(id_)
        run_id = shop.reset(ended, FIRST)
        shop.await_("{.status.attempt}", "3")
        operation = shop.await_("{.status.reason}", "AwaitingDecision")
        assert [a["cause"] for a in operation["status"]["attempts"]] == ["Initial", "Human", "Reset"]
        assert operation["status"]["decision"]["attempt"] == 2, "the last one that counted"
        shop.temporal.signal(id_, "abort", {"attempt": 3})
        shop.check_one_restore_an_attempt(shop.ended(run_id))

    def test_a_decision_that_comes_again_to_its_own_question_makes_an_attempt_with_a_new_number(
        self, shop: Shop, waiting: Json
    ) -> None:
        """Reset to where attempt 1 was asked about: the retry that was sent then is Temporal's to send again."""
        id_, asked = workflow_id(waiting), shop.temporal.task_ends(workflow_id(waiting))[-1]
        shop.temporal.signal(id_, "retry", {"attempt": 1})
        shop.await_("{.status.attempt}", "2")
        shop.await_("{.status.reason}", "AwaitingDecision")
        run_id = shop.temporal.reset(id_, waiting["status"]["workflow"]["runId"], asked)
        shop.await_("{.status.attempt}", "3")
        operation = shop.await_("{.status.reason}", "AwaitingDecision")
        assert told(operation) == [(1, "Initial", "Failed"), (2, "Human", "Failed"), (3, "Reset", "Failed")]
        shop.temporal.signal(id_, "abort", {"attempt": 3})
        shop.check_one_restore_an_attempt(shop.ended(run_id))

    def test_a_reset_without_the_signals_asks_again(self, shop: Shop, waiting: Json) -> None:
        """Somebody aborted in error."""
        id_, asked = workflow_id(waiting), shop.temporal.task_ends(workflow_id(waiting))[-1]
        shop.temporal.signal(id_, "abort", {"attempt": 1})
        assert shop.operations.await_end(shop.namespace, "restore")["status"]["reason"] == "AbortedByUser"
        shop.temporal.await_end(id_)
        run_id = shop.temporal.reset(id_, waiting["status"]["workflow"]["runId"], asked, exclude="Signal")
        assert "It is tried again." in shop.temporal.update(id_, "retry", {"attempt": 1})
        shop.await_("{.status.attempt}", "2")
        operation = shop.await_("{.status.reason}", "AwaitingDecision")
        assert operation["status"]["workflow"]["runId"] == run_id
        shop.temporal.signal(id_, "abort", {"attempt": 2})
        shop.check_one_restore_an_attempt(shop.ended(run_id))

    def test_start_like_this_one_is_refused_under_its_id_and_changes_nothing_under_another(
        self, shop: Shop, waiting: Json
    ) -> None:
        id_ = workflow_id(waiting)
        assert "already" in shop.temporal.start_like_refused(waiting, id_).lower()
        failure = shop.temporal.failure(f"{id_}-again", shop.temporal.start_like(waiting, f"{id_}-again"))
        assert failure is not None
        assert failure.type == "Fenced"
        assert unclaimed(shop.now()) == unclaimed(waiting)
        assert shop.releases.suspend(shop.namespace) is True, "a stranger's end resumes nothing"
        shop.temporal.signal(id_, "abort", {"attempt": 1})
        shop.ended(waiting["status"]["workflow"]["runId"])

    def test_two_processes_that_retry_at_the_same_time_make_one_attempt(self, shop: Shop, waiting: Json) -> None:
        # The attempt is named: who comes late, on a busy machine, must not retry the one after it.
        both = [shop.temporal.start_update(workflow_id(waiting), "retry", {"attempt": 1}) for _ in range(2)]
        said = [one.communicate(timeout=60)[0] for one in both]
        shop.await_("{.status.attempt}", "2")
        operation = shop.await_("{.status.reason}", "AwaitingDecision")
        assert told(operation) == [(1, "Initial", "Failed"), (2, "Human", "Failed")]
        assert sum("It is tried again." in text for text in said) == 1, said
        assert sum("does not wait for a decision" in text for text in said) == 1, said
        shop.temporal.signal(workflow_id(waiting), "abort", {"attempt": 2})
        shop.check_one_restore_an_attempt(shop.ended(operation["status"]["workflow"]["runId"]))


class TestRunning:
    """Attempt 1 has its Velero Restore, and Velero stands still: what is New stays New, what is InProgress too."""

    @pytest.fixture
    def running(self, shop: Shop, cluster: LocalCluster) -> Iterator[Json]:
        cluster.stop("velero")
        try:
            shop.kubectl.apply(restore(shop.namespace, "nightly", parameters=WITHOUT_SAFETY))
            yield shop.await_('{.status.steps[?(@.name=="FollowRestore")].state}', "Running")
        finally:
            cluster.start("velero")

    def in_progress(self, shop: Shop, running: Json) -> str:
        name: str = running["status"]["engineRef"]["name"]
        body = '{"status":{"phase":"InProgress"}}'
        shop.kubectl("patch", "restores.velero.io", name, "-n", VELERO, "--type=merge", "-p", body)
        shop.await_("{.status.message}", f"Velero Restore {name} is InProgress.")
        return name

    def succeeded(self, shop: Shop, run_id: str) -> Json:
        operation = shop.ended(run_id)
        assert operation["status"]["phase"] == "Succeeded", operation["status"]["message"]
        assert operation["status"]["workflow"]["runId"] == run_id
        assert (shop.releases.suspend(shop.namespace), shop.releases.marks(shop.namespace)) == (None, {})
        assert "settings" in shop.uids()
        return operation

    @pytest.mark.parametrize("point", [FIRST, MIDDLE])
    def test_what_velero_has_not_begun_is_withdrawn_before_another_is_made(
        self, shop: Shop, running: Json, cluster: LocalCluster, point: str
    ) -> None:
        run_id = shop.reset(running, point)
        shop.await_("{.status.attempts[?(@.number==2)].cause}", "Reset")
        second = shop.await_('{.status.steps[?(@.name=="FollowRestore")].state}', "Running")
        assert shop.made(second, "restores.velero.io", "main") == [second["status"]["attempts"][1]["veleroName"]]
        assert shop.releases.suspend(shop.namespace) is True
        cluster.start("velero")
        operation = self.succeeded(shop, run_id)
        assert told(operation)[:1] == [(1, "Initial", "Cancelled")]
        assert operation["status"]["attempts"][0]["reason"] == "Reset"

    @pytest.mark.parametrize("point", [FIRST, MIDDLE])
    def test_what_velero_works_on_is_waited_for_before_another_is_made(
        self, shop: Shop, running: Json, cluster: LocalCluster, point: str
    ) -> None:
        first = self.in_progress(shop, running)
        run_id = shop.reset(running, point)
        drains = shop.await_('{.status.steps[?(@.name=="DrainAttempts")].state}', "Running")
        assert told(drains) == [(1, "Initial", "Cancelled"), (2, "Reset", None)]
        assert shop.made(drains, "restores.velero.io", "main") == [first]
        cluster.start("velero")
        shop.check_one_restore_an_attempt(self.succeeded(shop, run_id))

    @pytest.mark.parametrize("point", ["follow_restore", LAST])
    def test_a_reset_to_where_it_is_followed_goes_on_with_the_same_restore(
        self, shop: Shop, running: Json, cluster: LocalCluster, point: str | None
    ) -> None:
        run_id = shop.reset(running, point)
        cluster.start("velero")
        operation = self.succeeded(shop, run_id)
        assert "Reset" not in [attempt["cause"] for attempt in operation["status"]["attempts"]]
        shop.check_one_restore_an_attempt(operation)

    def test_start_like_this_one_is_refused_under_its_id_and_changes_nothing_under_another(
        self, shop: Shop, running: Json, cluster: LocalCluster
    ) -> None:
        id_ = workflow_id(running)
        assert "already" in shop.temporal.start_like_refused(running, id_).lower()
        failure = shop.temporal.failure(f"{id_}-again", shop.temporal.start_like(running, f"{id_}-again"))
        assert failure is not None
        assert failure.type == "Fenced"
        assert shop.releases.suspend(shop.namespace) is True
        cluster.start("velero")
        shop.check_one_restore_an_attempt(self.succeeded(shop, running["status"]["workflow"]["runId"]))
