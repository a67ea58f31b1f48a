"""When a workload counts as rolled out and a claim as bound, and what is said where they are not."""

from typing import Any

import pytest

from operation_engine.domain import rollouts


def workload(ready: int, wanted: int | None = 1, updated: int | None = None, **spec: Any) -> dict[str, Any]:
    status = {"observedGeneration": 1, "readyReplicas": ready, "updatedReplicas": ready if updated is None else updated}
    replicas = {} if wanted is None else {"replicas": wanted}
    selector = {"matchLabels": {"app": "web"}}
    return {"metadata": {"generation": 1}, "spec": {"selector": selector, **replicas, **spec}, "status": status}


def fault(manifest: dict[str, Any] | None, kind: str = "Deployment", pods: tuple[dict[str, Any], ...] = ()) -> str:
    found = {} if manifest is None else {f"{kind}/web": manifest}
    return rollouts.told(rollouts.unready_workloads([f"{kind}/web"], found, pods))


@pytest.mark.parametrize(
    "manifest",
    [
        workload(1),
        workload(3, 3),
        workload(0, 0),
        workload(1, None),
        workload(1, updated=0, paused=True),
        workload(1, updated=0, updateStrategy={"type": "OnDelete"}),
    ],
)
def test_it_has_rolled_out_when_all_of_its_pods_are_ready(manifest: dict[str, Any]) -> None:
    assert fault(manifest) == ""


@pytest.mark.parametrize(
    ("manifest", "says"),
    [
        (None, "it does not exist"),
        (workload(0), "0 of 1 pods are ready"),
        (workload(2, 3), "2 of 3 pods are ready"),
        (workload(0, None), "0 of 1 pods are ready"),
        (workload(1, updated=0), "0 of 1 pods are of the newest revision"),
        ({**workload(1), "status": {"observedGeneration": 0, "readyReplicas": 1}}, "has not seen it yet"),
        ({**workload(1), "status": {}}, "has not seen it yet"),
    ],
)
def test_it_has_not_while_any_is_missing(manifest: dict[str, Any] | None, says: str) -> None:
    assert fault(manifest).startswith("Deployment/web: ")
    assert says in fault(manifest)


def test_a_daemon_set_counts_the_nodes_that_it_is_wanted_on() -> None:
    status = {"observedGeneration": 1, "desiredNumberScheduled": 2, "numberReady": 1}
    assert "1 of 2 pods are ready" in fault({**workload(0), "status": status}, "DaemonSet")
    assert fault({**workload(0), "status": {**status, "numberReady": 2}}, "DaemonSet") == ""


def test_the_cause_is_told_by_a_pod_of_its_own() -> None:
    unscheduled = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available: Insufficient cpu"}
    labels = {"labels": {"app": "web"}, "name": "web-1"}
    pending = {"metadata": labels, "status": {"conditions": [unscheduled]}}
    assert "pod web-1: 0/1 nodes are available" in fault(workload(0), pods=(pending,))
    waiting = {"name": "web", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
    pulling = {"metadata": labels, "status": {"containerStatuses": [waiting]}}
    assert "container web: ImagePullBackOff: no such image" in fault(workload(0), pods=(pulling,))
    stranger = {"metadata": {"labels": {"app": "other"}, "name": "x"}, "status": {"conditions": [unscheduled]}}
    assert "nodes" not in fault(workload(0), pods=(stranger,))


def test_a_claim_is_bound_or_named_with_its_class() -> None:
    bound = {"spec": {"storageClassName": "fast"}, "status": {"phase": "Bound"}}
    pending = {"spec": {"storageClassName": "fast"}, "status": {"phase": "Pending"}}
    assert rollouts.unbound_claims(["a"], {"a": bound}) == ()
    found = rollouts.unbound_claims(["a", "b"], {"a": pending})
    assert rollouts.told(found) == (
        "PersistentVolumeClaim/a: it is Pending (storage class fast); PersistentVolumeClaim/b: it does not exist"
    )


def test_many_are_told_by_the_first_and_a_count() -> None:
    found = rollouts.unbound_claims([str(n) for n in range(9)], {})
    assert rollouts.told(found).endswith("; and 4 more")
