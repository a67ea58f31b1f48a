"""When Velero in pods counts as ready, and what of `velero install` is changed."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from local_cluster import images, velero
from local_cluster.kube import object_path
from local_cluster.real_node import velero as pods
from local_cluster.real_node import volumes

DEPLOYMENT: dict[str, Any] = {
    "kind": "Deployment",
    "metadata": {"generation": 3},
    "spec": {"replicas": 1},
    "status": {"observedGeneration": 3, "replicas": 1, "readyReplicas": 1, "updatedReplicas": 1},
}
DAEMON_SET: dict[str, Any] = {
    "kind": "DaemonSet",
    "metadata": {"generation": 2},
    "spec": {},
    "status": {
        "observedGeneration": 2,
        "desiredNumberScheduled": 1,
        "currentNumberScheduled": 1,
        "numberReady": 1,
        "updatedNumberScheduled": 1,
    },
}


@pytest.mark.parametrize("workload", [DEPLOYMENT, DAEMON_SET], ids=["Deployment", "DaemonSet"])
def test_a_workload_runs_as_wanted_when_each_pod_is_ready_and_new(workload: dict[str, Any]) -> None:
    assert pods.runs_as_wanted(workload)


def changed(workload: dict[str, Any], change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    other = deepcopy(workload)
    change(other)
    return other


UNFINISHED = {
    "absent": None,
    "not looked at yet": changed(DEPLOYMENT, lambda one: one.update(status={})),
    "changed since": changed(DEPLOYMENT, lambda one: one["metadata"].update(generation=4)),
    "not ready": changed(DEPLOYMENT, lambda one: one["status"].pop("readyReplicas")),
    "an old pod is ready still": changed(DEPLOYMENT, lambda one: one["status"].update(replicas=2, readyReplicas=2)),
    "of the old template": changed(DEPLOYMENT, lambda one: one["status"].update(updatedReplicas=0)),
    "stopped": changed(
        DEPLOYMENT,
        lambda one: one.update(spec={"replicas": 0}, status={"observedGeneration": 3}),
    ),
    "agent on no node": changed(
        DAEMON_SET,
        lambda one: one["status"].update(
            desiredNumberScheduled=0, currentNumberScheduled=0, numberReady=0, updatedNumberScheduled=0
        ),
    ),
    "agent not ready": changed(DAEMON_SET, lambda one: one["status"].update(numberReady=0)),
}


@pytest.mark.parametrize("workload", UNFINISHED.values(), ids=UNFINISHED)
def test_anything_else_is_waited_for(workload: dict[str, Any] | None) -> None:
    assert not pods.runs_as_wanted(workload)


def printed(kind: str) -> dict[str, Any]:
    template = {"spec": {"containers": [{"args": ["server"]}]}}
    return {"kind": kind, "metadata": {"name": "x"}, "spec": {"template": template}}


def test_velero_in_pods_has_the_flags_of_velero_as_a_process() -> None:
    [deployment] = pods.furnished([printed("Deployment")])
    args = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    assert args == ["server", *velero.SERVER_FLAGS]
    assert deployment["spec"]["replicas"] == 1


def test_the_agent_s_settings_are_there_before_it_reads_them() -> None:
    settings, agent = pods.furnished([printed("DaemonSet")])
    container = agent["spec"]["template"]["spec"]["containers"][0]
    assert f"--node-agent-configmap={settings['metadata']['name']}" in container["args"]


def test_what_stops_a_workload_is_undone_by_what_installs_it() -> None:
    deployment, _, agent = pods.furnished([printed("Deployment"), printed("DaemonSet")])
    assert deployment["spec"]["replicas"] > pods.STOPPED["velero"]["spec"]["replicas"]
    stopped = pods.STOPPED["node-agent"]["spec"]["template"]["spec"]["nodeSelector"]
    wanted = agent["spec"]["template"]["spec"]["nodeSelector"]
    assert stopped.keys() == wanted.keys()
    assert stopped != wanted


def test_another_image_makes_other_pods() -> None:
    digests = {images.VELERO: "sha256:1111", images.VELERO_PLUGIN: "sha256:2222"}
    one, other = (
        {word for word in pods.arguments("/kubelet", "http://s3", "http://127.0.0.1:1", found) if "annotations" in word}
        for found in (digests, {**digests, images.VELERO_PLUGIN: "sha256:3333"})
    )
    assert one != other


def test_claims_get_volumes_that_velero_takes_and_their_class_has_an_address() -> None:
    wanted = volumes.storage_class()
    assert wanted["metadata"]["annotations"]["defaultVolumeType"] == "local"
    assert object_path(wanted) == "/apis/storage.k8s.io/v1/storageclasses/local-path"
