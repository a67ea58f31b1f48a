"""Processes and sockets as /proc writes them."""

import os
import socket
import subprocess

import pytest

from local_cluster import procfs
from local_cluster.files import wait_until
from local_cluster.procfs import Listener

STAT = "4242 (a (strange) name) S 1 4242 4242 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 100 2"


def test_a_process_name_with_parentheses_does_not_confuse() -> None:
    found = procfs.parse_stat(STAT)
    assert (found.pid, found.start, found.session, found.state) == (4242, 987654, 4242, "S")
    assert found.leads


@pytest.mark.parametrize(("state", "alive"), [("S", True), ("R", True), ("Z", False), ("X", False)])
def test_a_zombie_counts_as_ended(state: str, alive: bool) -> None:
    assert procfs.parse_stat(STAT.replace(") S", f") {state}")).alive is alive


def test_a_child_of_a_part_does_not_lead() -> None:
    assert not procfs.parse_stat(STAT.replace("S 1 4242 4242", "S 1 4242 1")).leads


HEADER = "  sl  local_address rem_address   st\n"
REST = "00000000:00000000 00:00000000 00000000 0 0 77 1"


@pytest.mark.parametrize(
    ("address", "expected", "loopback"),
    [
        ("0100007F:1F90", "127.0.0.1", True),
        ("00000000:1F90", "0.0.0.0", False),
        ("0202A8C0:1F90", "192.168.2.2", False),
        ("00000000000000000000000001000000:1F90", "::1", True),
        ("0000000000000000FFFF00000100007F:1F90", "::ffff:127.0.0.1", True),
        ("00000000000000000000000000000000:1F90", "00:00:00:00:00:00:00:00", False),
    ],
)
def test_listening_addresses_are_told_apart(address: str, expected: str, loopback: bool) -> None:
    listening = f"   0: {address} 00000000:0000 0A {REST}\n"
    connected = f"   1: {address} 0100007F:0050 01 {REST}\n"
    found = list(procfs.parse_listeners(HEADER + listening + connected))
    assert [one.port for one in found] == [8080]
    assert found[0].is_loopback is loopback
    if "." in expected or expected == "::1":
        assert found[0] == Listener(expected, 8080, "77")


def test_the_holder_of_a_port_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert procfs.holder(port) == os.getpid()
    assert procfs.holder(port) is None


def test_ancestors_reach_up_to_the_first_process() -> None:
    line = procfs.ancestors(os.getpid())
    assert {os.getpid(), os.getppid()} <= line


def test_the_environment_of_a_process_is_what_it_was_started_with() -> None:
    child = subprocess.Popen(["sleep", "60"], env={"A": "b=c"})
    try:
        # In the instant of its exec a process shows no environment.
        assert wait_until(lambda: procfs.environment(child.pid) == {"A": "b=c"}, 10)
        assert procfs.command_line(child.pid) == ("sleep", "60")
        assert procfs.resident_bytes(child.pid) > 0
    finally:
        child.kill()
        child.wait()
    assert procfs.environment(child.pid) == {}
    assert procfs.process(child.pid) is None
