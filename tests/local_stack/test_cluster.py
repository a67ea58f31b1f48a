"""A running cluster: everything is there, on loopback only, each component itself."""

import json
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_cluster import catalogue, processes, procfs
from local_cluster.cluster import LocalCluster
from local_cluster.errors import LocalClusterError
from local_cluster.files import locked, wait_until
from local_cluster.state import NodeKind


def call(cluster: LocalCluster, *command: str, **variables: str) -> str:
    """Run a command as a person would after `eval "$(vop local env)"`."""
    environment = {**os.environ, **cluster.env(), **variables}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def vop_local(cluster: LocalCluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    state_dir = ("--state-dir", str(cluster.layout.root))
    command = [sys.executable, "-m", "local_cluster", arguments[0], *state_dir, *arguments[1:]]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def pids(cluster: LocalCluster) -> dict[str, int | None]:
    return {name: part.pid for name, part in cluster.status().items()}


def location_phase(cluster: LocalCluster) -> str:
    path = "jsonpath={.status.phase}"
    return call(cluster, "kubectl", "-n", "velero", "get", "backupstoragelocation", "default", "-o", path)


@pytest.fixture
def extra(cluster: LocalCluster) -> Iterator[str]:
    yield "extra"
    if cluster.pid("extra"):
        cluster.stop("extra")


def test_every_part_is_ready(cluster: LocalCluster) -> None:
    status = cluster.status()
    assert list(status) == list(catalogue.names(NodeKind.KWOK))
    assert [name for name, part in status.items() if not part.ready] == []
    assert location_phase(cluster) == "Available"


def test_every_listening_socket_is_loopback(cluster: LocalCluster) -> None:
    inodes = {inode for one in processes.owned(cluster.layout) for inode in procfs.socket_inodes(one.process.pid)}
    ours = [one for one in procfs.listeners() if one.inode in inodes]
    assert len(ours) >= len(catalogue.ports(NodeKind.KWOK))
    assert [one for one in ours if not one.is_loopback] == []
    kept = {port for part in cluster.status().values() for port in part.ports.values()}
    assert kept <= {one.port for one in ours}


def test_a_backup_restores_into_a_fresh_namespace_with_its_pods(cluster: LocalCluster) -> None:
    call(cluster, "kubectl", "create", "namespace", "shop")
    call(cluster, "kubectl", "-n", "shop", "create", "deployment", "web", "--image=web", "--replicas=2")
    call(cluster, "kubectl", "-n", "shop", "rollout", "status", "deployment/web", "--timeout=60s")
    call(cluster, "velero", "backup", "create", "shop", "--include-namespaces=shop", "--wait")
    drill = ("--from-backup=shop", "--namespace-mappings=shop:drill")
    call(cluster, "velero", "restore", "create", "shop", *drill, "--wait")
    phase = call(cluster, "kubectl", "-n", "velero", "get", "restore", "shop", "-o", "jsonpath={.status.phase}")
    assert phase == "Completed"
    call(cluster, "kubectl", "-n", "drill", "rollout", "status", "deployment/web", "--timeout=60s")


def test_the_node_renews_its_lease_and_so_stays_ready(cluster: LocalCluster) -> None:
    path = "jsonpath={.spec.holderIdentity} {.spec.renewTime}"
    lease = call(cluster, "kubectl", "-n", "kube-node-lease", "get", "lease", "local", "-o", path)
    assert len(lease.split()) == 2


def test_requests_of_each_component_are_told_apart(cluster: LocalCluster) -> None:
    log = Path(cluster.env()["KUBE_AUDIT_LOG"])
    call(cluster, "kubectl", "get", "namespaces")
    events: list[dict[str, Any]] = [json.loads(line) for line in log.read_text().splitlines()]
    users = Counter(event["user"]["username"] for event in events)
    assert {"admin", "velero", "local-cluster"} <= set(users)
    assert not {"system:kube-controller-manager", "system:kube-scheduler", "kwok"} & set(users)
    assert {event["level"] for event in events} == {"Metadata"}
    assert "RequestReceived" not in {event["stage"] for event in events}


def test_a_service_account_gets_a_kubeconfig_of_its_own(cluster: LocalCluster, tmp_path: Path) -> None:
    output = tmp_path / "robot"
    missing = vop_local(cluster, "kubeconfig", "--service-account", "default/robot")
    assert missing.returncode == 1
    assert "No token for ServiceAccount default/robot; create it first" in missing.stderr
    call(cluster, "kubectl", "create", "serviceaccount", "robot")
    vop_local(cluster, "kubeconfig", "--service-account", "default/robot", "--output", str(output))
    who = call(
        cluster, "kubectl", "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}", KUBECONFIG=str(output)
    )
    assert who == "system:serviceaccount:default:robot"
    assert output.stat().st_mode & 0o077 == 0


def test_the_environment_can_be_evaluated_by_a_shell(cluster: LocalCluster) -> None:
    exports = vop_local(cluster, "env").stdout
    names = ("velero", "kubectl", "temporal", "weed", "etcd")
    asked = 'echo "$KUBECONFIG|$TEMPORAL_NAMESPACE|$S3_BUCKET"\n' + "".join(f"command -v {name}\n" for name in names)
    script = f"{exports}\n{asked}"
    answer = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    lines = answer.splitlines()
    assert lines[0] == f"{cluster.env()['KUBECONFIG']}|vworkspace|velero"
    assert lines[1:] == [str(cluster.layout.bin / name) for name in names]
    assert "VOP_LOCAL_CLUSTER" not in exports, "a shell with the mark would be ended by `down`"


def test_a_second_up_changes_nothing(cluster: LocalCluster) -> None:
    before = pids(cluster)
    cluster.up(node="kwok")
    assert pids(cluster) == before


def test_a_second_up_waits_for_the_first_and_says_so(cluster: LocalCluster) -> None:
    command = [sys.executable, "-m", "local_cluster", "up", "--node", "kwok", "--state-dir", str(cluster.layout.root)]
    with locked(cluster.layout.lock, print):
        second = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert second.stderr is not None
        line = second.stderr.readline()
        assert f"another command (process {os.getpid()}) works on the cluster" in line
        assert second.poll() is None
    rest = second.communicate(timeout=60)[1]
    assert second.returncode == 0, rest


def test_a_killed_part_is_started_again_and_the_others_are_left(cluster: LocalCluster) -> None:
    before = pids(cluster)
    cluster.kill("kube-scheduler")
    assert cluster.pid("kube-scheduler") is None
    assert vop_local(cluster, "status").returncode == 3
    cluster.up(node="kwok")
    after = pids(cluster)
    assert {name for name in after if after[name] != before[name]} == {"kube-scheduler"}
    status = vop_local(cluster, "status")
    assert status.returncode == 0, status.stdout


def test_an_outage_of_s3_shows_in_the_location_and_passes(cluster: LocalCluster) -> None:
    cluster.kill("seaweedfs")
    assert wait_until(lambda: location_phase(cluster) == "Unavailable", 40, every=0.5)
    cluster.start("seaweedfs")
    assert wait_until(lambda: location_phase(cluster) == "Available", 40, every=0.5)


def test_a_taken_port_is_named_with_its_holder_and_the_way_on(cluster: LocalCluster) -> None:
    port = cluster.status()["kwok"].ports["kwok"]
    cluster.stop("kwok")
    with socket.create_server(("127.0.0.1", port)):
        answer = vop_local(cluster, "up")
        assert answer.returncode == 1
        assert f"Port {port} of kwok is taken by" in answer.stderr
        assert f"(pid {os.getpid()})" in answer.stderr
        assert "`vop local up --new-ports`" in answer.stderr
    cluster.up(node="kwok")


def test_a_part_that_dies_at_its_start_shows_its_last_lines(cluster: LocalCluster) -> None:
    database = cluster.layout.data("temporal") / "temporal.db"
    cluster.stop("temporal")
    whole = database.read_bytes()
    try:
        database.write_bytes(b"this is no database" * 1000)
        with pytest.raises(
            LocalClusterError, match=r"temporal ended right after its start; its last lines in"
        ) as caught:
            cluster.up(node="kwok")
        assert "file is not a database" in caught.value.details
    finally:
        database.write_bytes(whole)
    cluster.up(node="kwok")


@pytest.mark.parametrize("name", ["etcd", "Engine", "a/b", ""])
def test_an_extra_program_needs_a_name_of_its_own(cluster: LocalCluster, name: str) -> None:
    with pytest.raises(LocalClusterError, match=r"cannot name an extra program"):
        cluster.run(name, ["sleep", "60"])


def test_an_unknown_part_is_answered_with_the_known_ones(cluster: LocalCluster) -> None:
    for act in (cluster.start, cluster.stop, cluster.kill, cluster.logs):
        with pytest.raises(LocalClusterError, match=r"There is no part 'nginx'; .*velero"):
            act("nginx")


def test_a_part_is_not_started_before_what_it_needs(cluster: LocalCluster) -> None:
    cluster.stop("seaweedfs")
    try:
        cluster.stop("velero")
        with pytest.raises(LocalClusterError, match=r"velero needs seaweedfs, which does not run"):
            cluster.start("velero")
    finally:
        cluster.up(node="kwok")


def test_an_extra_program_runs_once_logged_and_with_the_clusters_environment(cluster: LocalCluster, extra: str) -> None:
    command = ["sh", "-c", "echo $S3_BUCKET $MODE; exec sleep 60"]
    cluster.run(extra, command, {"MODE": "one"})
    assert wait_until(lambda: cluster.logs(extra) == "velero one", 5)
    assert cluster.status()[extra].ready


def test_an_extra_program_is_kept_while_its_command_is_the_same(cluster: LocalCluster, extra: str) -> None:
    first = cluster.run(extra, ["sleep", "60"], {"MODE": "one"})
    assert cluster.run(extra, ["sleep", "60"], {"MODE": "one"}) == first
    second = cluster.run(extra, ["sleep", "60"], {"MODE": "two"})
    third = cluster.run(extra, ["sleep", "61"], {"MODE": "two"})
    assert len({first, second, third}) == 3
    assert cluster.pid(extra) == third


def test_a_program_started_from_the_shell_is_a_part_too(cluster: LocalCluster, extra: str) -> None:
    answer = vop_local(cluster, "run", extra, "--env", "MODE=x=y", "--", "sh", "-c", "echo $MODE; sleep 60")
    assert answer.returncode == 0, answer.stderr
    assert wait_until(lambda: "x=y" in vop_local(cluster, "logs", extra).stdout, 5)
    assert f"{extra} " in vop_local(cluster, "status").stdout
    assert vop_local(cluster, "stop", extra).returncode == 0
    assert cluster.pid(extra) is None
