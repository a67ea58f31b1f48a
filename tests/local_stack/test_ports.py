"""Ports are chosen once, apart from other clusters and from what the kernel hands out."""

import json
import random
import socket
from pathlib import Path

import pytest

from local_cluster import catalogue, ports
from local_cluster.errors import LocalClusterError
from local_cluster.state import NodeKind


@pytest.mark.parametrize(
    ("ephemeral", "expected"),
    [
        ("32768\t60999\n", range(20_000, 22_768)),
        ("1024 65535", range(20_000, 22_700)),
        ("49152 65535", range(20_000, 39_152)),
    ],
)
def test_ports_stay_below_the_kernels_own(ephemeral: str, expected: range) -> None:
    assert ports.port_range(ephemeral) == expected


def test_a_derived_port_lies_where_its_program_looks_for_it() -> None:
    assert ports.arrange(["a", "admin", "admin-grpc"], {"admin-grpc": "admin"}, 20_000) == {
        "a": 20_000,
        "admin": 20_001,
        "admin-grpc": 30_001,
    }


def test_reserved_and_taken_ports_are_avoided() -> None:
    reserved = frozenset(range(20_000, 22_000))
    chosen = ports.choose(catalogue.ports(NodeKind.KWOK), reserved, {}, lambda port: port % 100 != 0, random.Random(1))
    assert not reserved & set(chosen.values())
    assert not any(port % 100 == 0 for port in chosen.values())
    assert len(set(chosen.values())) == len(catalogue.ports(NodeKind.KWOK))


def test_no_free_port_is_said_in_a_sentence() -> None:
    with pytest.raises(LocalClusterError, match=r"No 1 free ports between .* stop other clusters"):
        ports.choose(["a"], frozenset(), {}, lambda _: False)


def test_a_taken_port_is_seen_and_a_closed_one_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not ports.is_free(port)
    assert ports.is_free(port)


def test_the_sentence_names_port_part_and_program() -> None:
    text = str(ports.taken("seaweedfs", "s3", 20_001, "`python x.py` (pid 7)"))
    assert text.startswith("Port 20001 of seaweedfs (s3) is taken by `python x.py` (pid 7); stop that program")
    assert "--new-ports" in text


def test_known_clusters_are_those_that_still_exist(tmp_path: Path) -> None:
    registry, kept, gone = tmp_path / "clusters.json", tmp_path / "kept.json", tmp_path / "gone.json"
    kept.write_text(json.dumps({"ports": {"a": 1, "b": 2}}))
    gone.write_text("{}")
    ports.register(registry, kept)
    ports.register(registry, gone)
    gone.unlink()
    assert ports.known_clusters(registry) == [kept]
    assert ports.reserved([kept]) == {1, 2}


@pytest.mark.parametrize("text", ["", "{", '{"ports": 3}', "[]", "7"])
def test_an_unreadable_neighbour_reserves_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "cluster.json"
    path.write_text(text)
    assert ports.reserved([path]) == frozenset()
    assert ports.known_clusters(path) == []
