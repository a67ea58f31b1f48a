"""A running real node: its pods are containers with a network, volumes and nothing more, and it is repaired."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.kube import Kubectl

from local_cluster import catalogue, images, processes, procfs
from local_cluster.cluster import LocalCluster
from local_cluster.errors import LocalClusterError
from local_cluster.files import wait_until
from local_cluster.real_node import network, space
from local_cluster.state import NodeKind

POD = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 10Mi}}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: box}
spec:
  selector: {matchLabels: {app: box}}
  template:
    metadata: {labels: {app: box}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: box
        image: vop.local/busybox:1
        command: [sh, -c, "echo hello from $HOSTNAME; sleep 100000"]
        volumeMounts: [{name: data, mountPath: /data}]
      volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
"""


@pytest.fixture(scope="module")
def kubectl(real: LocalCluster) -> Kubectl:
    return Kubectl(real.env())


@pytest.fixture(scope="module")
def box(kubectl: Kubectl) -> Iterator[str]:
    """A pod with a volume, and a word on it."""
    kubectl("apply", "-f", "-", input=POD)
    kubectl("rollout", "status", "statefulset/box", "--timeout=60s")
    kubectl("exec", "box-0", "--", "sh", "-c", "echo kept > /data/word")
    yield "box-0"
    kubectl("delete", "statefulset/box", "pvc/data")


def not_ready(cluster: LocalCluster) -> list[str]:
    return [name for name, part in cluster.status().items() if not part.ready]


def shell(kubectl: Kubectl, pod: str, script: str) -> str:
    return kubectl("exec", pod, "--", "sh", "-c", script).stdout.strip()


def node_address(kubectl: Kubectl) -> str:
    return kubectl("get", "nodes", "-o", "jsonpath={.items[0].status.addresses[0].address}").stdout


def comes_back(kubectl: Kubectl, pod: str) -> bool:
    """Whether the pod runs, is reached, and has its volume."""

    def reads() -> bool:
        answer = kubectl("exec", pod, "--", "cat", "/data/word", check=False)
        return answer.returncode == 0 and answer.stdout.strip() == "kept"

    return wait_until(reads, 60, every=0.3)


def test_every_part_is_ready_and_velero_is_a_pod(real: LocalCluster, kubectl: Kubectl) -> None:
    parts = catalogue.names(NodeKind.REAL)
    assert set(parts) <= set(real.status())
    assert [name for name in not_ready(real) if name in parts] == []
    assert real.node is NodeKind.REAL
    runtime = kubectl("get", "nodes", "-o", "jsonpath={.items[*].status.nodeInfo.containerRuntimeVersion}").stdout
    assert runtime.startswith("containerd://")
    pods = kubectl("-n", "velero", "get", "pods", "-o", "jsonpath={.items[*].metadata.name}").stdout.split()
    assert sorted(name.split("-")[0] for name in pods) == ["node", "velero"]


def test_up_changes_nothing_where_all_runs(real: LocalCluster, box: str) -> None:
    before = {name: part.pid for name, part in real.status().items()}
    real.up()
    assert {name: part.pid for name, part in real.status().items()} == before


def test_logs_and_exec_reach_a_container(kubectl: Kubectl, box: str) -> None:
    assert kubectl("logs", box).stdout.strip() == f"hello from {box}"
    assert shell(kubectl, box, "hostname") == box


def test_a_pod_reaches_the_api_server_and_s3_and_nothing_else(real: LocalCluster, kubectl: Kubectl, box: str) -> None:
    def reaches(address: str, port: int) -> bool:
        return (
            shell(kubectl, box, f"nc -w 3 {address} {port} </dev/null >/dev/null 2>&1 && echo yes || echo no") == "yes"
        )

    gateway = shell(kubectl, box, "ip route").split()[2]
    assert reaches(network.API_ADDRESS, network.API_PORT)
    assert reaches(network.S3_ADDRESS, network.S3_PORT)
    assert not reaches(gateway, network.KUBELET_PORT)
    # Beyond the machine (an address that belongs to nobody), and servers of the machine past their way for pods.
    assert not reaches("198.51.100.1", 80)
    for name in ("TEMPORAL_ADDRESS", "S3_ENDPOINT"):
        assert not reaches(gateway, int(real.env()[name].rpartition(":")[2]))


def test_only_root_reaches_the_kubelet(kubectl: Kubectl) -> None:
    """It asks nobody who they are: whoever reaches it runs commands in every pod."""
    address = node_address(kubectl)

    def connect(user: int) -> int:
        ask = ("busybox", "nc", "-w", "5", address, str(network.KUBELET_PORT))
        command = ["setpriv", f"--reuid={user}", "--clear-groups", *ask]
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode

    assert connect(0) == 0
    assert connect(65534) != 0


def test_mounts_of_pods_are_nowhere_on_the_machine(real: LocalCluster, box: str) -> None:
    assert str(real.layout.root) not in Path("/proc/self/mountinfo").read_text()
    inside = Path(f"/proc/{space.holder(real.layout)}/mountinfo").read_text()
    assert f"{space.KUBELET_ROOT}/pods/" in inside


@pytest.mark.parametrize("name", ["kubelet", "containerd", "local-path-provisioner", "node-space"])
def test_a_killed_part_is_repaired_by_up(real: LocalCluster, kubectl: Kubectl, box: str, name: str) -> None:
    before = real.pid(name)
    real.kill(name)
    assert name in not_ready(real)
    real.up()
    assert real.pid(name) not in (None, before)
    assert not_ready(real) == []
    assert comes_back(kubectl, box)
    assert all(space.is_inside(real.layout, pid) for part in ("containerd", "kubelet") if (pid := real.pid(part)))


def test_a_bridge_that_somebody_removed_is_repaired_by_up(real: LocalCluster, kubectl: Kubectl, box: str) -> None:
    subprocess.run(["ip", "link", "delete", real.layout.machine_name], check=True)
    real.up()
    assert comes_back(kubectl, box)
    assert shell(kubectl, box, f"nc -w 3 {network.S3_ADDRESS} {network.S3_PORT} </dev/null && echo yes") == "yes"


@pytest.mark.parametrize("name", ["velero", "node-agent"])
def test_a_part_that_is_a_pod_is_stopped_started_and_killed_as_a_process_is(real: LocalCluster, name: str) -> None:
    first = real.pid(name)
    assert first is not None
    real.stop(name)
    assert real.pid(name) is None
    assert procfs.process(first) is None
    assert not real.status()[name].ready
    real.start(name)
    assert real.pid(name) not in (None, first)
    for _ in range(3):  # the kubelet's patience with it does not wear out
        before = real.pid(name)
        real.kill(name)
        assert wait_until(lambda: real.pid(name) not in (None, before), 10)  # noqa: B023 (asked in this round only)
    real.up()
    assert not_ready(real) == []
    assert "level=" in real.log_file(name).read_text()


def test_an_image_of_ones_own_runs(real: LocalCluster, kubectl: Kubectl) -> None:
    own = replace(images.busybox(), name="vop.local/own:1", environment={"PATH": "/bin:/usr/bin", "WORD": "mine"})
    real.load_image(own)
    arguments = ("--image=vop.local/own:1", "--restart=Never", "--image-pull-policy=Never", "--command")
    kubectl("run", "own", *arguments, "--", "sh", "-c", "echo $WORD")
    kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/own", "--timeout=60s")
    assert kubectl("logs", "own").stdout.strip() == "mine"
    kubectl("delete", "pod", "own")


def test_images_are_refused_where_nothing_runs_them(cluster: LocalCluster) -> None:
    with pytest.raises(LocalClusterError, match=r"Pods of kwok run no images"):
        cluster.load_image(images.busybox())


def test_everything_of_the_cluster_itself_listens_on_loopback_or_the_bridge(
    real: LocalCluster, kubectl: Kubectl
) -> None:
    address = node_address(kubectl)
    inodes = {inode for one in processes.owned(real.layout) for inode in procfs.socket_inodes(one.process.pid)}
    open_to = [one for one in procfs.listeners() if one.inode in inodes and not one.is_loopback]
    assert [(one.address, one.port) for one in open_to] == [(address, network.KUBELET_PORT)]


def test_the_command_shows_pods_among_the_parts(real: LocalCluster) -> None:
    command = [sys.executable, "-m", "local_cluster", "status", "--state-dir", str(real.layout.root)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert answer.returncode == 0, answer.stdout
    rows = {line.split()[0]: line.split()[1] for line in answer.stdout.splitlines()}
    assert rows["velero"] == rows["node-agent"] == rows["kubelet"] == "ready"
