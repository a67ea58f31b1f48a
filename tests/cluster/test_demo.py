"""The demo where pods run no containers, by `make` as its reader types it."""

import json
from typing import Any

from support.demo import cleaned_up, demo, demo_retry, hints, proposed, typed
from support.kube import Kubectl, Operations
from support.temporal import Temporal, workflow_id

from local_cluster.cluster import LocalCluster

QUOTA = "exceeded quota: no-room"


def checksums(told: str) -> list[str]:
    return [line.rpartition("checksum ")[2] for line in told.splitlines() if "checksum " in line]


def how_it_ended(temporal: Temporal, operation: dict[str, Any]) -> str:
    temporal.await_end(workflow_id(operation))
    run = temporal.run(workflow_id(operation))
    assert run is not None
    return run.status


def test_the_demo_backs_up_loses_and_restores_a_shop_and_what_fails_is_retried_by_what_it_says(
    cluster: LocalCluster, operations: Operations, kubectl: Kubectl, temporal: Temporal
) -> None:
    with cleaned_up(cluster, kubectl):
        told = demo(cluster)

        assert kubectl("get", "namespace", "shop", check=False).returncode != 0, "the shop is lost"
        restored = operations.get("shop-copy", "restore-copy")["status"]
        assert (restored["phase"], restored["reason"]) == ("Succeeded", "VeleroRestoreCompleted")
        assert "1 Deployment" in told
        assert len(set(checksums(told))) == 1, "before the backup, before the loss, and in the copy"
        assert len(checksums(told)) == 3
        for step in restored["steps"]:
            assert (f"  {step['name']}" in told) == (step["state"] != "Skipped")

        waiting = operations.get("shop-small", "restore-small")
        assert waiting["status"]["reason"] == "AwaitingDecision"
        assert QUOTA in waiting["status"]["message"]
        assert QUOTA in told
        assert waiting["status"]["workflow"]["url"] in told
        payload = next(line for line in told.splitlines() if line.strip().startswith("{"))
        assert json.loads(payload) == {"attempt": 1}

        environment, mend, annotate, *_ = hints(told)
        # Without the cluster's settings: the first of the commands gives them.
        assert "no-room" in typed(kubectl, f"unset KUBECONFIG\n{environment}\n{mend}")
        typed(kubectl, annotate)
        retried = operations.await_end("shop-small", "restore-small")["status"]
        assert retried["phase"] == "Succeeded", retried["message"]
        assert "VeleroRestorePartiallyFailed" in typed(kubectl, proposed(told, "kubectl describe"))

        assert "It was retried already." in demo_retry(cluster)
        assert how_it_ended(temporal, waiting) == "Completed"


def test_a_second_demo_begins_anew_and_what_waits_is_retried_by_make(
    cluster: LocalCluster, operations: Operations, kubectl: Kubectl, temporal: Temporal
) -> None:
    with cleaned_up(cluster, kubectl):
        demo(cluster)
        left = operations.get("shop-small", "restore-small")
        told = demo(cluster)

        assert "the copies that a run before left are removed" in told
        assert how_it_ended(temporal, left) == "Failed", "nothing goes on waiting for what is gone"
        status = operations.get("shop-copy", "restore-copy")["status"]
        assert status["phase"] == "Succeeded"
        assert status["outputs"]["backupName"] in told

        # Killed between the two commands, it would have done this much.
        typed(kubectl, proposed(told, "resourcequota"))
        told = demo_retry(cluster)
        assert "It was mended already." in told
        assert "1. Initial    Failed     VeleroRestorePartiallyFailed" in told
        assert "2. Human      Succeeded  VeleroRestoreCompleted" in told
        assert len(set(checksums(told))) == 1
        assert cluster.pid("engine") is not None
