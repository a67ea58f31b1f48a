"""What is kept over `down`, and that a killed `up` is repaired by the next; on clusters of their own."""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from minio import Minio

import local_cluster.state as kept
from local_cluster import processes
from local_cluster.cluster import LocalCluster
from local_cluster.files import wait_until
from local_cluster.state import Phase


def call(cluster: LocalCluster, *command: str) -> str:
    environment = {**os.environ, **cluster.env()}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def bucket(cluster: LocalCluster) -> Minio:
    env = cluster.env()
    address = env["S3_ENDPOINT"].removeprefix("http://")
    keys = {"access_key": env["AWS_ACCESS_KEY_ID"], "secret_key": env["AWS_SECRET_ACCESS_KEY"]}
    return Minio(address, secure=False, region=env["AWS_REGION"], **keys)


def put(cluster: LocalCluster, key: str, content: bytes) -> None:
    bucket(cluster).put_object(cluster.env()["S3_BUCKET"], key, io.BytesIO(content), len(content))


def read(cluster: LocalCluster, key: str) -> bytes:
    answer = bucket(cluster).get_object(cluster.env()["S3_BUCKET"], key)
    try:
        return bytes(answer.read())
    finally:
        answer.close()
        answer.release_conn()


def not_ready(cluster: LocalCluster) -> list[str]:
    return [name for name, part in cluster.status().items() if not part.ready]


def kill_up_when(cluster: LocalCluster, reached: Callable[[], bool]) -> None:
    """Start `up` in a process of its own and SIGKILL it at the given moment."""
    command = [sys.executable, "-m", "local_cluster", "up", "--node", "kwok", "--state-dir", str(cluster.layout.root)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as up:
        assert wait_until(lambda: reached() or up.poll() is not None, 60, every=0.002)
        assert up.poll() is None, "it was too late to kill it"
        up.send_signal(signal.SIGKILL)


def test_up_killed_at_any_point_is_repaired_by_the_next(cluster: LocalCluster, folder: Path) -> None:
    other = LocalCluster(folder)
    layout = other.layout
    points: dict[str, Callable[[], bool]] = {
        "locked": layout.lock.exists,
        "state written": layout.state_file.exists,
        "first part started": lambda: other.pid("etcd") is not None,
        "API server starting": lambda: other.pid("kube-apiserver") is not None,
        "certificate being written": layout.serving_certificate.exists,
        "velero starting": lambda: other.pid("velero") is not None,
    }
    for name, reached in points.items():
        if name in ("certificate being written", "API server starting"):
            other.kill("kube-apiserver") if other.pid("kube-apiserver") else None
            layout.serving_certificate.unlink(missing_ok=True)
        kill_up_when(other, reached)
    other.up(node="kwok")
    assert not_ready(other) == []
    leaders = [one.part for one in processes.owned(layout) if one.process.leads]
    assert sorted(leaders) == sorted(set(leaders)), "no part runs twice"
    _stand_apart(cluster, other)
    _finish_a_killed_wipe(other)
    _leave_no_process(other)


def _stand_apart(one: LocalCluster, two: LocalCluster) -> None:
    """Both run at the same time, and share neither ports nor secrets."""
    assert not_ready(one) == []
    assert not_ready(two) == []
    first, second = kept.load(one.layout), kept.load(two.layout)
    assert first is not None
    assert second is not None
    assert not set(first.ports.values()) & set(second.ports.values())
    assert not set(first.tokens.values()) & set(second.tokens.values())


def _finish_a_killed_wipe(other: LocalCluster) -> None:
    call(other, "kubectl", "create", "namespace", "old")
    state = kept.load(other.layout)
    assert state
    kept.save(other.layout, state.model_copy(update={"phase": Phase.WIPING}))
    other.up(node="kwok")
    assert "old" not in call(other, "kubectl", "get", "namespaces", "-o", "name")
    assert not_ready(other) == []


def _leave_no_process(other: LocalCluster) -> None:
    """Not the parts, not what `run` started, not one that nobody recorded or whose folder is gone."""
    other.run("engine", ["sleep", "600"])
    for name in ("etcd", "engine"):
        other.layout.record(name).unlink()
    started = [one.process for one in processes.owned(other.layout)]
    assert len(started) >= 9
    other.layout.state_file.unlink()
    other.down()
    assert processes.owned(other.layout) == []
    assert processes.wait_gone(started, 0)


def test_state_survives_down_and_crash_and_not_fresh(folder: Path) -> None:
    cluster = LocalCluster(folder)
    cluster.up(node="kwok")
    call(cluster, "kubectl", "create", "namespace", "kept")
    put(cluster, "kept.txt", b"content")
    start = ("temporal", "workflow", "start", "--type=T", "--task-queue=q", "--workflow-id=kept")
    call(cluster, *start, "--namespace=default")
    environment = cluster.env()

    def intact() -> None:
        assert cluster.env() == environment
        assert not_ready(cluster) == []
        assert "namespace/kept" in call(cluster, "kubectl", "get", "namespaces", "-o", "name")
        assert read(cluster, "kept.txt") == b"content"
        history = ("temporal", "workflow", "show", "--workflow-id=kept", "--namespace=default")
        assert "WorkflowExecutionStarted" in call(cluster, *history)

    cluster.down()
    assert processes.owned(cluster.layout) == []
    cluster.up(node="kwok")
    intact()
    for name in cluster.status():
        cluster.kill(name)
    cluster.up(node="kwok")
    intact()
    cluster.up(node="kwok", new_ports=True)
    assert cluster.env()["S3_ENDPOINT"] != environment["S3_ENDPOINT"]
    environment = cluster.env()
    intact()
    cluster.up(node="kwok", fresh=True)
    assert "kept" not in call(cluster, "kubectl", "get", "namespaces", "-o", "name")
    assert not list(bucket(cluster).list_objects("velero"))
    assert cluster.env()["AWS_SECRET_ACCESS_KEY"] != environment["AWS_SECRET_ACCESS_KEY"]


def test_a_full_disk_is_told_before_anything_starts(small_disk: Callable[[str], Path]) -> None:
    state_dir = str(small_disk("2m") / "s")
    command = [sys.executable, "-m", "local_cluster", "up", "--node", "kwok", "--state-dir", state_dir]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    if "unix sockets" in answer.stderr:
        pytest.skip("the temporary folder of this machine has too long a path")
    assert "A local cluster needs 500 MB free" in answer.stderr
