"""Where no real node can run: what a person reads, and what they get instead; each on this machine, made so."""

import os
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from support import real_node

import local_cluster.state as kept
from local_cluster import choices
from local_cluster.cluster import LocalCluster
from local_cluster.errors import LocalClusterError
from local_cluster.layout import Layout
from local_cluster.real_node import machine, network
from local_cluster.state import NodeKind

ASK = """
from pathlib import Path
from local_cluster.real_node import machine
print(*machine.obstacles(Path("/tmp")), sep="\\n")
"""
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can take something away from this machine for a test")


def obstacles_after(preparation: str) -> list[str]:
    """What is in the way where the machine looks so; seen only by the process that asks."""
    script = f'{preparation}\nexec {sys.executable} -c "$ASK"'
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-eu", "-c", script]
    answer = subprocess.run(command, env={**os.environ, "ASK": ASK}, capture_output=True, text=True, check=True)
    return answer.stdout.splitlines()


def without(program: str) -> str:
    """Hide a program wherever PATH may find it."""
    places = " ".join(
        f"{folder}/{program}" for folder in ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin")
    )
    return f'for file in {places}; do [ ! -e "$file" ] || mount --bind /dev/null "$file"; done'


def test_root_on_this_machine_can_run_a_real_node() -> None:
    """Else the tests that need one are skipped without anybody noticing."""
    if os.geteuid() != 0:
        pytest.skip(f"not run: {machine.obstacles(Path('/tmp'))}, and with it every test that needs a real node")
    if os.environ.get(real_node.OPT_OUT):
        pytest.skip(f"not run, and with it every test that needs a real node: {real_node.OPT_OUT} is set")
    assert machine.obstacles(Path("/tmp")) == []


@AS_ROOT
@pytest.mark.parametrize(
    ("program", "package"), [("runc", "runc"), ("nft", "nftables"), ("ip", "iproute2"), ("busybox", "busybox-static")]
)
def test_a_missing_program_is_named_with_its_package(program: str, package: str) -> None:
    assert obstacles_after(without(program)) == [f"`{program}` is missing (package {package})"]


@AS_ROOT
def test_missing_cgroups_are_named() -> None:
    unmount = (
        "grep -E ' - cgroup2? ' /proc/self/mountinfo | cut -d' ' -f5 | while read -r place; do umount \"$place\"; done"
    )
    assert obstacles_after(unmount) == ["no cgroup offers cpu, cpuset, memory, pids"]


@AS_ROOT
def test_a_state_dir_where_containers_cannot_lie_is_named() -> None:
    overlay = (
        "mount -t tmpfs none /mnt; mkdir /mnt/new /mnt/work; "
        "mount -t overlay -o lowerdir=/tmp,upperdir=/mnt/new,workdir=/mnt/work none /tmp"
    )
    assert obstacles_after(overlay) == ["the state dir lies on overlayfs"]


@AS_ROOT
def test_root_without_rights_is_told_what_is_not_allowed() -> None:
    script = f'exec setpriv --bounding-set=-all --inh-caps=-all {sys.executable} -c "$ASK"'
    answer = subprocess.run(
        ["sh", "-c", script], env={**os.environ, "ASK": ASK}, capture_output=True, text=True, check=True
    )
    first, second = answer.stdout.splitlines()
    assert first.startswith("a mount namespace is not allowed here (unshare: ")
    assert second.startswith("nftables is not allowed here (")


@AS_ROOT
def test_one_who_is_not_root_reads_so() -> None:
    # After the imports: nobody else may read the environment that this runs in.
    program = ASK.replace("print", "import os; os.setuid(65534); print")
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert answer.stdout.splitlines() == ["you are not root"], answer.stderr


WHY = "you are not root"


@pytest.mark.parametrize(
    ("named", "known", "why_not", "kind", "said"),
    [
        ("auto", None, [], NodeKind.REAL, "pods run as containers"),
        ("auto", None, [WHY], NodeKind.KWOK, f"a real node cannot run here: {WHY}"),
        ("auto", NodeKind.KWOK, [], NodeKind.KWOK, "pods run no containers"),
        ("auto", NodeKind.REAL, [], NodeKind.REAL, "pods run as containers"),
        ("kwok", None, [], NodeKind.KWOK, "pods run no containers"),
        ("real", None, [], NodeKind.REAL, "pods run as containers"),
    ],
)
def test_the_kind_of_node_is_chosen_once_and_said(
    named: str, known: NodeKind | None, why_not: list[str], kind: NodeKind, said: str
) -> None:
    chosen, why = choices.node_kind(named, known, lambda: why_not)
    assert chosen is kind
    assert said in why


@pytest.mark.parametrize(
    ("named", "known", "why_not", "sentence"),
    [
        ("real", None, [WHY], r"A real node cannot run here: you are not root\. .*scripts/node-packages.*--node kwok"),
        (
            "auto",
            NodeKind.REAL,
            ["`runc` is missing (package runc)"],
            r"A real node cannot run here: `runc` is missing",
        ),
        ("kwok", NodeKind.REAL, [], r"begun with --node real, .*--node kwok; add --fresh"),
        ("real", NodeKind.KWOK, [], r"begun with --node kwok, .*--node real; add --fresh"),
    ],
)
def test_a_node_that_cannot_be_is_refused_with_a_way_out(
    named: str, known: NodeKind | None, why_not: list[str], sentence: str
) -> None:
    with pytest.raises(LocalClusterError, match=sentence):
        choices.node_kind(named, known, lambda: why_not)


def test_a_cluster_of_another_kind_is_left_as_it_is(folder: Path) -> None:
    layout = Layout.of(folder)
    kept.save(layout, kept.new({"etcd": 1}))
    with pytest.raises(LocalClusterError, match=r"begun with --node kwok"):
        LocalCluster(folder).up(node="real")
    assert kept.load(layout) is not None
    assert not (layout.root / "data").exists()


def test_auto_keeps_off_a_machine_that_nobody_has_tried() -> None:
    chosen, why = choices.node_kind("auto", None, list, lambda: ["never tried here; --node real tries it"])
    assert chosen is NodeKind.KWOK
    assert why == "pods run no containers (kwok): never tried here; --node real tries it"
    assert choices.node_kind("real", None, list, lambda: ["never tried here"])[0] is NodeKind.REAL
    assert choices.node_kind("auto", NodeKind.REAL, list, lambda: ["never tried here"])[0] is NodeKind.REAL


@AS_ROOT
def test_one_who_is_not_root_is_told_of_a_node_that_is(folder: Path) -> None:
    """And nothing of it is removed halfway."""
    real_node.require()
    name = Layout.of(folder).machine_name
    clear = f"""
import os
from local_cluster.layout import Layout
from local_cluster.real_node import machine
os.setuid(65534)
machine.clear(Layout.of({str(folder)!r}))
"""
    subprocess.run(["ip", "link", "add", name, "type", "bridge"], check=True)
    try:
        answer = subprocess.run([sys.executable, "-c", clear], capture_output=True, text=True, check=False)
        assert "only root can remove it: `sudo vop local down`" in answer.stderr
        assert network.exists(name)
    finally:
        network.remove(name)
    assert not network.exists(name)


TO_AND_FRO = """
from ipaddress import IPv4Network
from local_cluster.real_node import network
network.create("vop-nosbin", IPv4Network("10.200.253.0/24"), 1, 2)
assert network.exists("vop-nosbin")
network.remove("vop-nosbin")
"""


@AS_ROOT
def test_the_system_s_tools_are_found_where_path_does_not_lead() -> None:
    """After a plain `su` root's PATH has no sbin; what was set up is removed all the same."""
    real_node.require()
    subprocess.run([sys.executable, "-c", TO_AND_FRO], env={"PATH": "/usr/bin:/bin"}, check=True)
    assert not network.exists("vop-nosbin")
    assert "vop-nosbin" not in real_node.output("nft", "list", "tables")


@pytest.fixture
def foreign_route() -> Iterator[IPv4Network]:
    """Somebody's VPN; the address belongs to nobody, and nothing is sent there."""
    real_node.require()
    wanted = IPv4Network("10.200.251.0/24")
    subprocess.run(["ip", "route", "add", "blackhole", "10.200.251.128/25"], check=True)
    yield wanted
    subprocess.run(["ip", "route", "delete", "blackhole", "10.200.251.128/25"], check=True)


def test_an_address_range_that_somebody_took_is_told_with_the_way_out(foreign_route: IPv4Network) -> None:
    with pytest.raises(
        LocalClusterError, match=r"10\.200\.251\.0/24 .* is taken: .* 10\.200\.251\.128/25 .*--new-ports"
    ):
        network.require_free(foreign_route, "vop-none")
    network.require_free(IPv4Network("10.200.252.0/24"), "vop-none")
    chosen = [network.choose([], network.taken("vop-none")) for _ in range(200)]
    assert foreign_route not in chosen
