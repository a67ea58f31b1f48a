"""Consent is asked of the namespaces and the Velero Backup themselves, for every attempt."""

from collections.abc import Callable
from typing import Any

import pytest
import pytest_asyncio
from support import reports
from support.acting import Acting, FaultyApi, ref_of, run_of
from support.kube import Kubectl, Operations, restore
from support.world import VELERO, VeleroBackups, fresh_namespace

from activities.namespaces import NamespaceActivities
from activities.requests import StepRequest
from activities.safeguard_requests import ConsentAnswer, ConsentRequest
from operation_engine.domain.admission import Answer
from operation_engine.domain.identity import OperationRef
from operation_engine.records.operations import OperationStore
from operation_engine.runtime.kubernetes import Refused

CLUSTER = "a-cluster"
FROM, TO = "ops.vworkspace.io/restore-from", "ops.vworkspace.io/restore-to"
MakeBackup = Callable[..., str]


@pytest.fixture
def make_backup(kubectl: Kubectl, backups: VeleroBackups) -> Any:
    """A Velero Backup of a namespace as the engine leaves it, with nothing in the bucket."""
    made: list[str] = []

    def make(source: str, uid: str, **annotations: str) -> str:
        name = f"of-{source}"
        metadata = {
            "name": name,
            "namespace": VELERO,
            "labels": {"app.vworkspace.io/cluster-id": CLUSTER},
            "annotations": {"ops.vworkspace.io/source-namespace-uid": uid, **annotations},
        }
        status = {"phase": "Completed", "startTimestamp": "2026-03-01T12:00:00Z"}
        spec = {"includedNamespaces": [source]}
        kubectl.apply(
            {"apiVersion": "velero.io/v1", "kind": "Backup", "metadata": metadata, "spec": spec, "status": status}
        )
        made.append(name)
        return name

    yield make
    for name in made:
        backups.delete(name)


@pytest.fixture
def operation(namespace: str) -> dict[str, Any]:
    """Not used: each test makes the Restore that it is about."""
    return {}


class Asked:
    """A Restore in a namespace, and what the engine finds about its consent."""

    def __init__(self, verbs: NamespaceActivities, store: OperationStore, ref: OperationRef, backup: str) -> None:
        self.verbs, self.store, self.ref, self.backup = verbs, store, ref, backup
        self.act = Acting(run_of(ref))
        self.status: Any = None

    async def __call__(self) -> ConsentAnswer:
        if self.status is None:
            self.status = await self.store.claim(self.ref, run_of(self.ref), reports.first)
        request = ConsentRequest(ref=self.ref, report=self._report(), backup_name=self.backup)
        answer: ConsentAnswer = await self.act(self.verbs.check_consent, request)
        self.status = answer.status
        return answer

    async def create(self) -> None:
        self.status = await self.act(self.verbs.create_destination, StepRequest(ref=self.ref, report=self._report()))

    def _report(self) -> Any:
        return reports.next_report(self.status, self.status)


@pytest.fixture
def asking(api: FaultyApi, store: OperationStore, kubectl: Kubectl, operations: Operations, namespace: str) -> Any:
    def ask(backup: str, mapping: dict[str, str] | None = None, prefixes: tuple[str, ...] = ()) -> Asked:
        verbs = NamespaceActivities(
            api,
            store,
            velero_namespace=VELERO,
            cluster_id=CLUSTER,
            require_managed_namespace=True,
            new_namespace_prefixes={namespace: prefixes},
        )
        kubectl.apply(restore(namespace, backup, parameters={"namespaceMapping": mapping} if mapping else {}))
        return Asked(verbs, store, ref_of(operations.get(namespace, "restore")), backup)

    return ask


def uid(kubectl: Kubectl, namespace: str) -> str:
    return str(kubectl.json("get", "namespace", namespace)["metadata"]["uid"])


@pytest_asyncio.fixture
async def neighbour(kubectl: Kubectl) -> Any:
    with fresh_namespace(kubectl) as name:
        yield name


async def test_a_backup_goes_back_where_it_came_from(
    asking: Any, make_backup: MakeBackup, kubectl: Kubectl, namespace: str
) -> None:
    answer = await asking(make_backup(namespace, uid(kubectl, namespace)))()
    assert answer.gate.answer == Answer.PASS
    assert (answer.source, answer.destination) == (namespace, namespace)
    assert (answer.creates_destination, answer.approval_because) == (False, None)


async def test_a_namespace_that_was_made_anew_asks_for_approval(
    asking: Any, make_backup: MakeBackup, namespace: str
) -> None:
    answer = await asking(make_backup(namespace, "of-the-one-before"))()
    assert answer.gate.answer == Answer.PASS
    assert "was deleted and made anew" in answer.approval_because


async def test_a_refusal_s_command_gives_consent_and_taking_it_back_is_seen(
    asking: Any, make_backup: MakeBackup, kubectl: Kubectl, namespace: str, neighbour: str
) -> None:
    asked = asking(make_backup(neighbour, uid(kubectl, neighbour)), {neighbour: namespace})
    refused = (await asked()).gate
    assert (refused.answer, refused.reason) == (Answer.REFUSE, "ConsentMissing")
    run_command_in(refused.message, kubectl)
    assert (await asked()).gate.answer == Answer.PASS
    kubectl("annotate", "namespace", neighbour, f"{TO}-")
    assert (await asked()).gate.reason == "ConsentMissing"


async def test_consent_outlives_its_namespace_on_the_backup(
    asking: Any, make_backup: MakeBackup, kubectl: Kubectl, namespace: str
) -> None:
    asked = asking(make_backup("gone-for-good", "its-uid"), {"gone-for-good": namespace})
    refused = (await asked()).gate
    assert refused.reason == "ConsentMissing"
    assert "Namespace gone-for-good is gone" in refused.message
    run_command_in(refused.message, kubectl)
    assert (await asked()).gate.answer == Answer.PASS


async def test_a_destination_must_agree_too(
    asking: Any, make_backup: MakeBackup, kubectl: Kubectl, namespace: str, neighbour: str
) -> None:
    asked = asking(make_backup(namespace, uid(kubectl, namespace)), {namespace: neighbour})
    refused = (await asked()).gate
    assert refused.reason == "ConsentMissing"
    run_command_in(refused.message, kubectl)
    assert (await asked()).gate.answer == Answer.PASS


async def test_a_missing_destination_is_made_once_where_its_name_is_allowed(
    asking: Any, make_backup: MakeBackup, kubectl: Kubectl, namespace: str
) -> None:
    copy = f"{namespace}-copy"
    asked = asking(make_backup(namespace, uid(kubectl, namespace)), {namespace: copy}, ("{namespace}-",))
    answer = await asked()
    assert (answer.gate.answer, answer.creates_destination) == (Answer.PASS, True)
    try:
        await asked.create()
        labels = kubectl.json("get", "namespace", copy)["metadata"]["labels"]
        assert labels["ops.vworkspace.io/operation"] == asked.ref.uid
        await asked.create()
        again = await asked()
        assert (again.gate.answer, again.creates_destination) == (Answer.PASS, False)
        assert set(labels) == {
            "app.vworkspace.io/managed-by",
            "kubernetes.io/metadata.name",
            "ops.vworkspace.io/operation",
            "ops.vworkspace.io/operation-namespace",
        }
    finally:
        kubectl("delete", "namespace", copy, "--wait=false")


async def test_a_name_that_somebody_else_takes_meanwhile_is_not_restored_into(
    asking: Any, make_backup: MakeBackup, kubectl: Kubectl, namespace: str, neighbour: str
) -> None:
    asked = asking(make_backup(namespace, uid(kubectl, namespace)), {namespace: neighbour}, (neighbour,))
    await asked()
    with pytest.raises(Refused, match="made by somebody else"):
        await asked.create()


async def test_a_name_that_is_not_allowed_is_not_made(
    asking: Any, make_backup: MakeBackup, kubectl: Kubectl, namespace: str
) -> None:
    answer = await asking(make_backup(namespace, uid(kubectl, namespace)), {namespace: "elsewhere"}, ("copy-",))()
    assert (answer.gate.answer, answer.gate.reason) == (Answer.REFUSE, "ConsentMissing")
    assert "names may begin with: copy-" in answer.gate.message


async def test_a_backup_that_is_gone_is_said_to_be(asking: Any) -> None:
    answer = await asking("nowhere")()
    assert (answer.gate.answer, answer.gate.reason) == (Answer.REFUSE, "BackupNotFound")


async def test_a_mapping_of_strangers_is_refused(asking: Any) -> None:
    answer = await asking("b", {"kube-system": "velero"})()
    assert (answer.gate.answer, answer.gate.reason) == (Answer.REFUSE, "ValidationFailed")


def run_command_in(message: str, kubectl: Kubectl) -> None:
    """Do what a refusal says, to the letter."""
    command = message.partition("Consent: kubectl ")[2]
    assert command, message
    kubectl(*command.split())
