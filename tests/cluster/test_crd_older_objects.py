"""Objects from before a rule existed can still be reported on, cancelled and deleted.

Played on a copy of the CRD under another group: first as bare as the public operator's, then with its rules.
"""

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from support.kube import Kubectl, backup

from operation_engine.crds.definitions import definitions

GROUP = "older.vworkspace.test"
RESOURCE = f"olderoperations.{GROUP}"
# Names of their own: kubectl remembers for the rest of the session which group `operation` belongs to.
NAMES = {"kind": "OlderOperation", "plural": "olderoperations", "singular": "olderoperation"}


def copied_crd() -> dict[str, Any]:
    crd = deepcopy(definitions()[0])
    crd["metadata"]["name"] = RESOURCE
    crd["spec"]["group"] = GROUP
    crd["spec"]["names"] = NAMES
    return crd


def bare_crd() -> dict[str, Any]:
    """Spec and status are free; the status has no default."""
    crd = copied_crd()
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"type": "object", "properties": {"spec": free, "status": free}}
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = schema
    # A field can be selected only if the schema knows it.
    del crd["spec"]["versions"][0]["selectableFields"]
    return crd


def manifest(namespace: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return backup(namespace, name, **spec) | {"apiVersion": f"{GROUP}/v1alpha1", "kind": NAMES["kind"]}


def apply_crd(kubectl: Kubectl, crd: dict[str, Any]) -> None:
    kubectl("apply", "--server-side", "-f", "-", input=json.dumps(crd))
    kubectl("wait", "--for=condition=Established", f"crd/{RESOURCE}", "--timeout=30s")


OLDER = {
    "n" * 64: {},
    "restore-of-nothing": {"type": "Restore", "engine": "velero"},
    "upgrade-to-nowhere": {"type": "Upgrade", "parameters": {"backup": True}},
    "backup-by-helm": {"engine": "helm"},
    "backup-out-of-bounds": {
        "parameters": {"retention": "4 weeks", "excludedResources": ["x"] * 200, "x": {"y": None}}
    },
    "restore-with-an-unknown-way": {"type": "Restore", "parameters": {"existingVolumes": "Merge"}},
}
# A known key of another type is what CEL cannot compare: such an object is frozen, and can only be deleted.
MISTYPED = {"mistyped": {"parameters": {"snapshotVolumes": "yes"}}}


@pytest.fixture
def older(kubectl: Kubectl, namespace: str) -> Iterator[str]:
    """The namespace of Operations that were created without any rule, under the CRD of today."""
    apply_crd(kubectl, bare_crd())
    for name, spec in (OLDER | MISTYPED).items():
        kubectl("create", "-f", "-", input=json.dumps(manifest(namespace, name, spec)))
    apply_crd(kubectl, copied_crd())
    _await_rules(kubectl, namespace)
    yield namespace
    kubectl("delete", "crd", RESOURCE, "--wait=true", "--timeout=60s")


def _await_rules(kubectl: Kubectl, namespace: str) -> None:
    """The API server serves a changed schema a moment later."""
    wrong = json.dumps(manifest(namespace, "new", {"type": "Restore"}))
    for _ in range(200):
        if kubectl("create", "--dry-run=server", "-f", "-", input=wrong, check=False).returncode != 0:
            return
    raise AssertionError("the rules do not take effect")


def patch(kubectl: Kubectl, namespace: str, name: str, body: dict[str, Any], *options: str) -> None:
    kubectl("patch", RESOURCE, name, "-n", namespace, "--type=merge", "-p", json.dumps(body), *options)


def test_an_older_operation_can_be_reported_on_cancelled_and_deleted(kubectl: Kubectl, older: str) -> None:
    for name in OLDER:
        patch(kubectl, older, name, {"metadata": {"finalizers": ["ops.vworkspace.io/operation"]}})
        patch(kubectl, older, name, {"status": {"phase": "Running", "observedGeneration": 1}}, "--subresource=status")
        patch(kubectl, older, name, {"spec": {"cancel": True}})
        patch(kubectl, older, name, {"status": {"phase": "Cancelled"}}, "--subresource=status")
        kubectl("delete", RESOURCE, name, "-n", older, "--wait=false")
        patch(kubectl, older, name, {"metadata": {"finalizers": None}})
    assert [name.rpartition("/")[2] for name in names(kubectl, older)] == list(MISTYPED)


def test_an_older_operation_with_a_mistyped_parameter_can_be_deleted(kubectl: Kubectl, older: str) -> None:
    kubectl("delete", RESOURCE, "mistyped", "-n", older)
    assert len(names(kubectl, older)) == len(OLDER)


def names(kubectl: Kubectl, namespace: str) -> set[str]:
    return set(kubectl("get", RESOURCE, "-n", namespace, "-o", "name").stdout.split())
