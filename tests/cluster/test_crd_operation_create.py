"""Which Operations the API server takes, and what it says about the others."""

import json
from subprocess import CompletedProcess
from typing import Any

import pytest
from support.kube import Kubectl
from support.kube import backup as operation

from operation_engine.domain.resources.operation import Operation

APPLICATION = {"apiVersion": "apps.vworkspace.io/v1alpha1", "kind": "ApplicationInstance", "name": "shop"}
RESTORE = {"type": "Restore", "parameters": {"backupName": "old"}}
UPGRADE = {"type": "Upgrade", "targetRef": APPLICATION, "parameters": {"targetVersion": "1.2.3"}}


def created(kubectl: Kubectl, namespace: str, spec: dict[str, Any], name: str = "tried") -> CompletedProcess[str]:
    """What the API server says to a new Operation; it is not kept. `spec` stands over that of a plain backup."""
    given = json.dumps(operation(namespace, name, **spec))
    return kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", input=given, check=False)


def backup(**parameters: Any) -> dict[str, Any]:
    return {"parameters": parameters}


def restore(**parameters: Any) -> dict[str, Any]:
    return {"type": "Restore", "parameters": {"backupName": "old"} | parameters}


def upgrade(**parameters: Any) -> dict[str, Any]:
    return UPGRADE | {"parameters": {"targetVersion": "1.2.3"} | parameters}


def policy(**parts: Any) -> dict[str, Any]:
    return {"policy": parts}


GOOD = {
    "the least there is": {},
    "a named engine": {"engine": "velero"},
    "an application": {"targetRef": APPLICATION},
    "a backup as the public samples write it": backup(
        storageLocation="default", retention="30d", snapshotClassName="csi", snapshotVolumes=True
    ),
    "a backup with everything": backup(
        storageLocation="default",
        ttl="720h",
        snapshotVolumes=False,
        snapshotMoveData=False,
        defaultVolumesToFsBackup=True,
        csiSnapshotClassName="csi",
        includedResources=["deployments.apps", "*"],
        excludedResources=["events"],
        labelSelector={
            "matchLabels": {"app": "web"},
            "matchExpressions": [{"key": "tier", "operator": "In", "values": ["a", ""]}],
        },
        itemOperationTimeout="1h30m",
    ),
    "a restore": restore(),
    "a restore with everything": restore(
        namespaceMapping={"shop": "shop-copy"},
        restorePVs=True,
        existingResourcePolicy="update",
        storageClassMapping={"fast": "slow"},
        includedResources=["persistentvolumeclaims"],
        excludedResources=["pods"],
        labelSelector={"matchLabels": {"app": "web"}},
        itemOperationTimeout="10m",
        existingVolumes="Replace",
        safetyBackup=False,
        cleanup="DeleteRestored",
        verify={
            "workloadsReady": True,
            "volumesBound": True,
            "minItems": 3,
            "http": {"url": "http://web.shop.svc/healthz", "expectStatus": 204, "timeout": "5s"},
            "timeout": "10m",
        },
    ),
    "an upgrade": upgrade(),
    "an upgrade with everything": upgrade(
        valuesPatch={"web": {"replicas": 3, "tags": ["a", 1, None]}, "old": None, "flag": True},
        backup=False,
        rollback="None",
        verify={"workloadsReady": True},
        allowGitOpsManaged=True,
    )
    | {"engine": "helm"},
    "a type and an engine that are not built": {"type": "RunCommand", "engine": "job", "parameters": {"image": "x"}},
    "a backup with an engine that is not built": {"engine": "volsync"},
    "a parameter that only the engine can refuse": backup(colour="blue"),
    "an alias beside its key, which only the engine refuses": backup(ttl="1h", retention="1h"),
    "two namespaces in a mapping, which only the engine refuses": restore(namespaceMapping={"a": "b", "c": "d"}),
    "approvals": {
        "approvals": {
            "required": True,
            "claim": "x.y.z",
            "approvedBy": "anna",
            "approvedAt": "2026-05-28T10:00:00Z",
        }
    },
    "a whole policy": policy(
        requireReady=False,
        timeout="4h",
        waitTimeout="3d",
        decisionTimeout="0s",
        partialFailure="Accept",
        dryRun=True,
        ttlAfterFinished="30d",
    ),
    "a cancel from the start": {"cancel": True},
    "the smallest duration": policy(decisionTimeout="0"),
    "a duration of every unit": policy(timeout="1d2h3m4s5ms6us7ns"),
}


@pytest.mark.parametrize("spec", GOOD.values(), ids=GOOD)
def test_a_good_operation_is_taken_as_it_is_and_can_be_read(
    kubectl: Kubectl, namespace: str, spec: dict[str, Any]
) -> None:
    answer = created(kubectl, namespace, spec)
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == ""
    kept = json.loads(answer.stdout)
    assert {key: kept["spec"][key] for key in spec} == spec
    assert Operation.from_api(kept).spec.type == kept["spec"]["type"]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no target": ({"targetRef": None}, "spec.targetRef: Required value"),
    "a target without a name": (
        {"targetRef": {"apiVersion": "v1", "kind": "Namespace"}},
        "spec.targetRef.name: Required",
    ),
    "a target with an empty name": (
        {"targetRef": {"apiVersion": "v1", "kind": "Namespace", "name": ""}},
        "spec.targetRef.name: Invalid value",
    ),
    "no type": ({"type": None}, "spec.type: Required value"),
    "an unknown type": (
        {"type": "Clone"},
        'spec.type: Unsupported value: "Clone": supported values: "Backup", "Restore"',
    ),
    "an unknown engine": ({"engine": "restic"}, 'spec.engine: Unsupported value: "restic"'),
    "a backup by helm": ({"engine": "helm"}, "spec.engine: Invalid value"),
    "a restore by helm": (
        RESTORE | {"engine": "helm"},
        "engine helm cannot run a Backup or a Restore",
    ),
    "an upgrade by velero": (UPGRADE | {"engine": "velero"}, "spec.engine velero cannot run an Upgrade: use helm"),
    "a restore of nothing": (
        {"type": "Restore"},
        "spec.parameters.backupName: Required value: a Restore needs spec.parameters.backupName",
    ),
    "a restore with other parameters only": (
        {"type": "Restore", "parameters": {"cleanup": "Keep"}},
        "spec.parameters.backupName: Required value",
    ),
    "an upgrade to nowhere": (
        {"type": "Upgrade", "parameters": {"backup": True}},
        "spec.parameters.targetVersion: Required value: an Upgrade needs spec.parameters.targetVersion",
    ),
    "a field that does not exist": ({"parametres": {}}, 'unknown field "spec.parametres"'),
    "a policy field that does not exist": (policy(timeOut="1h"), 'unknown field "spec.policy.timeOut"'),
    "a duration without a unit": (policy(timeout="90"), "spec.policy.timeout: Invalid value"),
    "a negative duration": (policy(waitTimeout="-1h"), "spec.policy.waitTimeout: Invalid value"),
    "a number for a duration": (policy(decisionTimeout=30), "spec.policy.decisionTimeout: Invalid value"),
    "a retention in weeks": (backup(retention="4w"), "spec.parameters.retention: Invalid value"),
    "a duration that is too long to read": (backup(ttl="1" * 40 + "h"), "spec.parameters.ttl: Too long"),
    "a text for a yes or no": (backup(snapshotVolumes="yes"), "spec.parameters.snapshotVolumes: Invalid value"),
    "a text for a list": (backup(includedResources="pods"), "spec.parameters.includedResources: Invalid value"),
    "too many resources": (backup(excludedResources=["x"] * 129), "spec.parameters.excludedResources: Too many"),
    "an unknown operator": (
        backup(labelSelector={"matchExpressions": [{"key": "a", "operator": "Like"}]}),
        "spec.parameters.labelSelector.matchExpressions[0].operator: Unsupported value",
    ),
    "an unknown way with volumes": (
        restore(existingVolumes="Merge"),
        "parameters.existingVolumes: Unsupported",
    ),
    "an unknown way with resources": (
        restore(existingResourcePolicy="replace"),
        'spec.parameters.existingResourcePolicy: Unsupported value: "replace": supported values: "none", "update"',
    ),
    "an unknown clean-up": (restore(cleanup="All"), "spec.parameters.cleanup: Unsupported value"),
    "too many mapped namespaces": (
        restore(namespaceMapping={f"n{number}": "x" for number in range(17)}),
        "spec.parameters.namespaceMapping: Too many",
    ),
    "a check without an address": (restore(verify={"http": {}}), "spec.parameters.verify.http.url: Required value"),
    "a status code that is none": (
        restore(verify={"http": {"url": "http://web", "expectStatus": 99}}),
        "spec.parameters.verify.http.expectStatus: Invalid value",
    ),
    "a version that is a number": (upgrade(targetVersion=2), "spec.parameters.targetVersion: Invalid value"),
    "a values patch that is a text": (upgrade(valuesPatch="a: b"), "spec.parameters.valuesPatch: Invalid value"),
    "an unknown rollback": (upgrade(rollback="Data"), "spec.parameters.rollback: Unsupported value"),
    "a partial failure that is neither": (
        policy(partialFailure="Ignore"),
        "policy.partialFailure: Unsupported",
    ),
    "a claim of unbounded length": ({"approvals": {"claim": "x" * 8193}}, "spec.approvals.claim: Too long"),
    "a cancel that is a text": ({"cancel": "true"}, "spec.cancel: Invalid value"),
}


@pytest.mark.parametrize(("spec", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_operation_is_refused_with_the_name_of_the_field(
    kubectl: Kubectl, namespace: str, spec: dict[str, Any], said: str
) -> None:
    answer = created(kubectl, namespace, spec)
    assert answer.returncode != 0
    assert said in answer.stderr


def test_a_name_may_have_63_characters_and_no_more(kubectl: Kubectl, namespace: str) -> None:
    assert created(kubectl, namespace, {}, name="n" * 63).returncode == 0
    answer = created(kubectl, namespace, {}, name="n" * 64)
    assert answer.returncode != 0
    assert "metadata.name must have at most 63 characters" in answer.stderr


def test_an_operation_without_a_spec_is_refused(kubectl: Kubectl, namespace: str) -> None:
    manifest = {"apiVersion": "ops.vworkspace.io/v1alpha1", "kind": "Operation"}
    given = json.dumps(manifest | {"metadata": {"name": "empty", "namespace": namespace}})
    answer = kubectl("create", "--dry-run=server", "-f", "-", input=given, check=False)
    assert "spec: Required value" in answer.stderr
