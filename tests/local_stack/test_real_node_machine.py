"""What a real node puts on this machine is gone after `down`, whatever happened before; two nodes share nothing."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import real_node
from support.kube import Kubectl
from support.real_node import Footprint, footprint

import local_cluster.state as kept
from local_cluster import processes, procfs
from local_cluster.cluster import LocalCluster
from local_cluster.files import wait_until
from local_cluster.real_node import cgroups, machine, network, space

POD = """
apiVersion: v1
kind: Pod
metadata: {name: box}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: box, image: "vop.local/busybox:1", command: [sleep, "100000"]}]
"""


class Trial:
    """A cluster with a real node of a test's own, and the machine as it was before."""

    def __init__(self, folder: Path) -> None:
        self.cluster = LocalCluster(folder)
        self.name = self.cluster.layout.machine_name
        self.loose = real_node.loose_links()
        self.before = footprint(self.name, ignored=self.loose)

    def up(self, *, new_ports: bool = False) -> None:
        self.cluster.up(node="real", new_ports=new_ports)
        kubectl = Kubectl(self.cluster.env())
        kubectl("apply", "-f", "-", input=POD)
        kubectl("wait", "--for=condition=Ready", "pod/box", "--timeout=60s")

    @property
    def traces(self) -> dict[str, frozenset[str]]:
        return footprint(self.name, ignored=self.loose) - self.before

    def processes(self) -> list[procfs.Process]:
        """All of it: parts, shims, and what runs in pods."""
        found = [one.process for one in processes.owned(self.cluster.layout)]
        return found + cgroups.processes(self.name)

    def require_nothing_left(self, were: list[procfs.Process]) -> None:
        assert processes.wait_gone(were, 0)
        # The kernel takes a network namespace, and what was plugged into it, apart a moment after its last process.
        assert wait_until(lambda: not self.traces, 30), self.traces


@pytest.fixture
def trial(folder: Path) -> Trial:
    real_node.require()
    return Trial(folder)


@pytest.fixture
def covered() -> Iterator[Trial]:
    real_node.require()
    folder = Path("/var/lib") / f"vop-test-{os.getpid()}"
    trial = Trial(folder)
    yield trial
    trial.cluster.down()
    shutil.rmtree(folder, ignore_errors=True)


def sigkill(trial: Trial, were: list[procfs.Process]) -> None:
    """As an out-of-memory killer gone mad would: nobody has the time to tidy up."""
    for one in were:
        processes.send(one, signal.SIGKILL)
    assert processes.wait_gone(were, 10)
    cgroups.kill(trial.name)


def test_of_two_nodes_side_by_side_one_ends_and_leaves_its_share_of_the_machine_as_it_was(
    real: LocalCluster, trial: Trial
) -> None:
    trial.up()
    states = [kept.load(one.layout) for one in (real, trial.cluster)]
    assert len({state.pod_range for state in states if state}) == 2
    assert set(trial.traces) >= {"links", "routes", "addresses", "tables", "cgroups"}, "or this test compares nothing"
    were = trial.processes()
    assert len(were) > 14
    trial.cluster.down()
    trial.require_nothing_left(were)
    assert [name for name, part in real.status().items() if not part.ready] == []
    reach = f"nc -w 20 {network.API_ADDRESS} {network.API_PORT} </dev/null"
    Kubectl(real.env())("-n", "velero", "exec", "deployment/velero", "--", "sh", "-c", reach)


def test_after_a_sigkill_of_everything_down_leaves_nothing_and_up_finds_what_was_kept(trial: Trial) -> None:
    """So it is after a reboot too: the folder is there, and nothing of it on the machine."""
    trial.up()
    Kubectl(trial.cluster.env())("create", "configmap", "kept")
    sigkill(trial, trial.processes())
    assert trial.traces
    trial.cluster.down()
    trial.require_nothing_left([])
    before = kept.load(trial.cluster.layout)
    trial.up(new_ports=True)
    after = kept.load(trial.cluster.layout)
    assert before is not None
    assert after is not None
    assert after.pod_range not in ("", before.pod_range)
    kubectl = Kubectl(trial.cluster.env())
    kubectl("get", "configmap", "kept")
    kubectl("exec", "box", "--", "sh", "-c", f"nc -w 20 {network.S3_ADDRESS} {network.S3_PORT} </dev/null")
    _begin_anew_on_remains(trial)


def _begin_anew_on_remains(trial: Trial) -> None:
    """Killed, and its folder emptied: bridge, rules and cgroup of the old are in the way of the new."""
    sigkill(trial, trial.processes())
    for entry in trial.cluster.layout.root.iterdir():
        subprocess.run(["rm", "-rf", str(entry)], check=True)
    trial.up()
    were = trial.processes()
    trial.cluster.down()
    trial.require_nothing_left(were)


def test_down_leaves_nothing_of_a_cluster_whose_folder_was_removed(covered: Trial) -> None:
    """By hand, while it ran; and the folder was below one that the node covers for its programs."""
    covered.up()
    assert all(part.ready for part in covered.cluster.status().values())
    were = covered.processes()
    removal = ["rm", "-rf", str(covered.cluster.layout.root)]
    # What still runs may make a file in a folder that is just being removed.
    assert wait_until(lambda: subprocess.run(removal, capture_output=True, check=False).returncode == 0, 30)
    covered.cluster.down()
    covered.require_nothing_left(were)


def test_up_killed_at_any_point_is_repaired_by_the_next(trial: Trial) -> None:
    cluster = trial.cluster
    points: dict[str, Callable[[], bool]] = {
        "bridge made": lambda: network.exists(trial.name),
        "mounts being made": lambda: cluster.pid("node-space") is not None,
        "mounts made": lambda: space.holder(cluster.layout) is not None,
        "containerd starting": lambda: cluster.pid("containerd") is not None,
        "kubelet starting": lambda: cluster.pid("kubelet") is not None,
        "pods starting": lambda: bool(cgroups.processes(trial.name)),
    }
    for reached in points.values():
        if reached():  # what survived the kill before would make this point come too early
            cluster.down()
        kill_up_when(cluster, reached)
    trial.up()
    assert all(part.ready for part in cluster.status().values())
    leaders = [one.part for one in processes.owned(cluster.layout) if one.process.leads]
    assert sorted(leaders) == sorted(set(leaders)), "no part runs twice"
    were = trial.processes()
    kill_up_when(cluster, lambda: True)
    cluster.down()
    trial.require_nothing_left(were)


def kill_up_when(cluster: LocalCluster, reached: Callable[[], bool]) -> None:
    """Start `up` in a process of its own and SIGKILL it at the given moment."""
    state_dir = str(cluster.layout.root)
    command = [sys.executable, "-m", "local_cluster", "up", "--node", "real", "--state-dir", state_dir]
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=dict(os.environ)) as up:
        assert wait_until(lambda: reached() or up.poll() is not None, 60, every=0.002)
        assert up.poll() is None, "it was too late to kill it"
        up.send_signal(signal.SIGKILL)


def test_two_kinds_of_footprint_are_told_apart() -> None:
    one = Footprint(*(frozenset() for _ in range(8)))
    other = Footprint(frozenset({"a mount"}), *(frozenset() for _ in range(7)))
    assert other - one == {"mounts": frozenset({"a mount"})}
    assert one - one == {}


def test_nothing_is_cleared_where_nothing_is(folder: Path) -> None:
    machine.clear(LocalCluster(folder).layout)
