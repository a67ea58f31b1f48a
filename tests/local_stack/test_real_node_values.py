"""What a real node decides, as values: addresses, rules, cgroups, and whose word about a pod counts."""

import os
import random
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from local_cluster.errors import LocalClusterError
from local_cluster.layout import LONGEST_STATE_DIR, Layout
from local_cluster.real_node import cgroups, containerd, kubelet, network, workloads

DICE = random.Random(1)


def net(text: str) -> IPv4Network:
    return IPv4Network(text)


def test_pods_get_a_range_that_nobody_has() -> None:
    elsewhere = [net("10.200.0.0/17"), net("10.200.200.0/22")]
    for _ in range(50):
        chosen = network.choose([net("10.200.128.0/18")], elsewhere, DICE)
        assert chosen.prefixlen == 24
        assert chosen.subnet_of(net("10.200.192.0/18"))
        assert not chosen.overlaps(net("10.200.200.0/22"))


def test_a_vpn_that_takes_all_of_ten_leaves_other_ranges() -> None:
    assert network.choose([], [net("10.0.0.0/8")], DICE).subnet_of(net("172.29.0.0/16"))
    everywhere = [net("10.0.0.0/8"), net("172.16.0.0/12"), net("192.168.0.0/16")]
    with pytest.raises(LocalClusterError, match=r"No free address range for pods: .*--node kwok"):
        network.choose([], everywhere, DICE)


def test_other_clusters_ranges_are_read_from_what_they_keep(tmp_path: Path) -> None:
    contents = ['{"pod_range": "10.200.7.0/24"}', '{"pod_range": ""}', "{}", "half a f", "[]"]
    files = [tmp_path / str(number) for number in range(len(contents) + 1)]
    for file, content in zip(files, contents, strict=False):
        file.write_text(content)
    assert network.reserved(files) == [net("10.200.7.0/24")]


def test_routes_of_this_machine_count_but_for_the_default_and_our_own() -> None:
    routes = [
        {"dst": "default", "dev": "eth0"},
        {"dst": "10.200.7.0/24", "dev": "vop-1"},
        {"dst": "10.200.8.1", "dev": "tun0"},
        {"type": "blackhole", "dst": "10.9.0.0/16"},
    ]
    assert network.routed(routes, "vop-1") == {net("10.200.8.1/32"): "tun0", net("10.9.0.0/16"): "no device"}


def test_the_rules_lead_from_the_bridge_to_two_ports_and_guard_the_kubelet() -> None:
    rules = network.rules("vop-1", net("10.200.7.0/24"), 20_001, 20_002)
    assert rules.startswith("table inet vop-1\ndelete table inet vop-1\ntable inet vop-1 {"), "one transaction"
    ways = [line.strip() for line in rules.splitlines() if "dnat ip" in line]
    assert ways == [
        "iifname vop-1 ip daddr 10.0.0.1 tcp dport 443 dnat ip to 127.0.0.1:20001",
        "iifname vop-1 ip daddr 10.0.0.2 tcp dport 8333 dnat ip to 127.0.0.1:20002",
    ]
    assert "ip daddr 10.200.7.1 tcp dport 10250 meta skuid != 0 reject" in rules
    assert "masquerade" not in rules


def test_the_network_plugin_changes_nothing_for_the_whole_machine() -> None:
    (plugin,) = network.conflist("vop-1", net("10.200.7.0/24"))["plugins"]
    assert not plugin["isGateway"], "it would turn on forwarding"
    assert not plugin["ipMasq"]
    assert plugin["ipam"]["routes"] == [{"dst": "10.0.0.0/16", "gw": "10.200.7.1"}], "and none to anywhere else"


def test_the_longest_state_dir_has_room_for_every_socket_and_name(tmp_path: Path) -> None:
    layout = Layout(Path("/" + "x" * (LONGEST_STATE_DIR - 1)))
    assert len(f"{layout.containerd_socket}.ttrpc") <= 107
    assert len(layout.machine_name) <= 15
    assert Layout.of(tmp_path).machine_name != layout.machine_name


VERSION_1 = """
30 24 0:26 / /sys/fs/cgroup rw shared:8 - tmpfs tmpfs rw
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
""".strip()


def test_cgroup_controllers_are_found_in_both_versions() -> None:
    assert set(cgroups.mounted(VERSION_1)) == {
        Path("/sys/fs/cgroup/cpu,cpuacct"),
        Path("/sys/fs/cgroup/memory"),
        Path("/sys/fs/cgroup/unified"),
    }
    assert cgroups.missing(VERSION_1, frozenset()) == ["cpuset", "pids"]
    assert cgroups.missing(VERSION_1, frozenset({"cpuset", "pids"})) == []
    assert cgroups.missing("", frozenset()) == list(cgroups.NEEDED)


@pytest.mark.parametrize(
    ("offered", "handed_on", "written"),
    [("cpuset cpu io memory pids", "memory pids", "+cpu +cpuset"), ("cpu io", "cpu", "cpu"), ("", "", "")],
)
def test_version_2_hands_on_the_controllers_that_it_offers(
    tmp_path: Path, offered: str, handed_on: str, written: str
) -> None:
    (tmp_path / "cgroup.controllers").write_text(offered)
    (tmp_path / "cgroup.subtree_control").write_text(handed_on)
    cgroups.enable(tmp_path)
    assert (tmp_path / "cgroup.subtree_control").read_text() == written


def test_images_are_listed_with_their_digests() -> None:
    table = "REF TYPE DIGEST SIZE PLATFORMS LABELS\nvop.local/a:1 application/x sha256:1 2 MiB linux/amd64 -\n\n"
    assert containerd.listed(table) == {"vop.local/a:1": "sha256:1"}


def test_nothing_of_containerd_reaches_the_machine() -> None:
    text = containerd.config(Layout(Path("/s")), Path("/plugins"))
    assert "disable_apparmor = true" in text
    assert '"io.containerd.internal.v1.opt"' in text
    assert 'bin_dirs = ["/plugins"]' in text


def test_the_kubelet_is_for_the_bridge_and_collects_no_images() -> None:
    config = kubelet.config(Layout(Path("/s")), "10.200.7.1", 20_003)
    assert config["address"] == "10.200.7.1"
    assert config["readOnlyPort"] == 0
    assert config["healthzBindAddress"] == "127.0.0.1"
    assert config["imageGCHighThresholdPercent"] == 100
    assert config["cgroupRoot"] == f"/{Layout(Path('/s')).machine_name}"


def pod(**state: Any) -> dict[str, Any]:
    return {"status": {"containerStatuses": [{"containerID": "containerd://abc", "state": state}]}}


@pytest.mark.parametrize(
    ("found", "places", "lost"),
    [
        (None, "", []),
        ({"items": []}, "", []),
        ({"items": [{"status": {}}]}, "", []),
        ({"items": [pod(running={})]}, "/kubepods/pod1/abc", []),
        ({"items": [pod(running={})]}, "/kubepods/pod1/other", ["abc"]),
        ({"items": [pod(waiting={"reason": "CrashLoopBackOff"})]}, "", []),
        ({"items": [pod(terminated={})]}, "", []),
    ],
)
def test_a_container_that_is_said_to_run_and_does_not_is_noticed(
    found: dict[str, Any] | None, places: str, lost: list[str]
) -> None:
    assert workloads.lost(found, places) == lost


def test_version_2_hands_on_what_a_kubelet_asks_for(tmp_path: Path) -> None:
    """hugetlb too, which nobody hands on by himself, where the machine has it."""
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory hugetlb pids rdma misc")
    handed_on = tmp_path / "cgroup.subtree_control"
    handed_on.write_text("memory pids")
    cgroups.enable(tmp_path)
    assert handed_on.read_text() == "+cpu +cpuset +hugetlb"


def test_a_cgroup_counts_as_removed_once_it_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of it that went meanwhile says nothing of the whole."""
    tree = tmp_path / "node"
    (tree / "pod/container").mkdir(parents=True)
    (tree / "stays").mkdir()
    walked = list(os.walk(tree, topdown=False))
    (tree / "pod/container").rmdir()
    monkeypatch.setattr(os, "walk", lambda *_, **__: iter(walked))
    assert not cgroups._remove(tree)
    monkeypatch.undo()
    assert cgroups._remove(tree)
    assert not tree.exists()
