"""The parts as values: order, flags, policy, keys."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import local_cluster.state as kept
from local_cluster import catalogue, control_plane, kube, node, ports, velero
from local_cluster.layout import Layout
from local_cluster.parts import Part, Site
from local_cluster.real_node import kubelet, workloads
from local_cluster.starter import in_waves
from local_cluster.state import NodeKind


@pytest.fixture(params=NodeKind)
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Site:
    kind: NodeKind = request.param
    names = (
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kwok",
        "velero",
        "weed",
        "temporal",
        "containerd",
        "kubelet",
        "local-path-provisioner",
    )
    numbers = ports.arrange(catalogue.ports(kind), catalogue.DERIVED_PORTS, 20_000)
    state = kept.new(numbers, kind, "10.200.7.0/24" if kind is NodeKind.REAL else "")
    return Site(Layout.of(tmp_path), state, {name: Path("/bin") / name for name in names})


def test_every_part_needs_parts_that_exist_and_ends_before_them(site: Site) -> None:
    parts = catalogue.parts(site)
    wave = {name: number for number, names in enumerate(catalogue.STOP_WAVES) for name in names}
    pods = set(workloads.NAMES) if site.state.node is NodeKind.REAL else set()
    assert set(parts) | pods == set(catalogue.names(site.state.node))
    assert set(wave) == {name for kind in NodeKind for name in catalogue.names(kind)}
    for part in parts.values():
        assert all(wave[part.name] < wave[need] for need in part.needs)


def test_every_port_belongs_to_one_part_and_is_in_its_flags(site: Site) -> None:
    parts = catalogue.parts(site)
    claimed = [name for part in parts.values() for name in part.ports]
    assert sorted(claimed) == sorted(catalogue.ports(site.state.node))
    address = "10.200.7.1"
    for part in parts.values():
        told = " ".join(part.argv)
        if part.name == "kubelet":
            told += json.dumps(kubelet.config(site.layout, address, site.port("kubelet-health")))
        for name in part.ports:
            assert str(site.port(name)) in told


def test_no_secret_is_in_an_argv(site: Site) -> None:
    state = site.state
    secrets = {*state.tokens.values(), state.s3_access_key, state.s3_secret_key}
    for part in catalogue.parts(site).values():
        assert not [word for word in part.argv for secret in secrets if secret in word]


def test_a_persons_environment_does_not_reach_the_parts(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mine")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy")
    assert set(site.environment) == {"PATH", "HOME", "TMPDIR", "LANG"}


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        (set(), []),
        ({"etcd", "engine", "velero"}, [("engine",), ("velero",), ("etcd",)]),
        ({"temporal"}, [("temporal",)]),
    ],
)
def test_extras_end_first_and_etcd_last(present: set[str], expected: list[tuple[str, ...]]) -> None:
    ended: list[tuple[str, ...]] = []
    in_waves(catalogue.STOP_WAVES, present, ended.append)
    assert ended == expected


@pytest.mark.skipif(not shutil.which("openssl"), reason="kube-apiserver reads the key in the cluster tests")
def test_the_signing_key_is_one_that_others_read(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(control_plane.new_signing_key())
    answer = subprocess.run(
        ["openssl", "ec", "-in", str(key), "-noout", "-text"], capture_output=True, text=True, check=False
    )
    assert "prime256v1" in answer.stdout
    assert control_plane.new_signing_key() != control_plane.new_signing_key()


@pytest.mark.parametrize("content", [None, "", "-----BEGIN CERTIFICATE-----\nhalf"])
def test_a_half_written_certificate_is_made_anew(tmp_path: Path, content: str | None) -> None:
    certificate, key = tmp_path / "apiserver.crt", tmp_path / "apiserver.key"
    if content is not None:
        certificate.write_text(content)
    key.write_text("half")
    control_plane.discard_bad_certificate(certificate)
    assert list(tmp_path.iterdir()) == []


def test_the_audit_log_keeps_velero_and_leaves_out_the_machinery() -> None:
    rules = control_plane.audit_policy()["rules"]
    silenced = {user for rule in rules if rule["level"] == "None" for user in rule.get("users", [])}
    assert {"system:kube-controller-manager", "system:kube-scheduler", "kwok"} <= silenced
    assert not {"velero", "admin"} & silenced
    assert rules[-1] == {"level": "Metadata"}


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        ({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}, "/api/v1/nodes/n"),
        (
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "x"}},
            "/apis/apps/v1/namespaces/x/deployments/d",
        ),
    ],
)
def test_objects_go_to_their_path(wanted: dict[str, Any], path: str) -> None:
    assert kube.object_path(wanted) == path


@pytest.mark.parametrize(
    ("status", "available"),
    [
        (None, False),
        ({}, False),
        ({"phase": "Unavailable"}, False),
        ({"phase": "Available"}, True),
    ],
)
def test_a_location_is_available_when_velero_says_so(status: dict[str, str] | None, available: bool) -> None:
    assert velero.is_available(None if status is None else {"status": status}) is available


READY = {"conditions": [{"type": "Ready", "status": "True"}]}


@pytest.mark.parametrize(
    ("found", "schedulable"),
    [
        (None, False),
        ({"status": {}}, False),
        ({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}, False),
        ({"status": READY, "spec": {"taints": [{"key": "node.kubernetes.io/not-ready"}]}}, False),
        ({"status": READY, "spec": {}}, True),
    ],
)
def test_a_node_takes_pods_when_ready_and_without_taints(found: dict[str, Any] | None, schedulable: bool) -> None:
    assert node.is_schedulable(found) is schedulable


def test_a_part_is_ready_at_once_where_nothing_tells() -> None:
    assert Part("x", ("x",)).ready()


def test_the_token_file_gives_each_component_its_user(site: Site) -> None:
    for folder in site.layout.folders():
        folder.mkdir(parents=True, exist_ok=True)
    part = catalogue.parts(site)["kube-apiserver"]
    part.prepare()
    lines = (site.layout.pki / "tokens.csv").read_text().splitlines()
    assert len({line.split(",")[0] for line in lines}) == len({line.split(",")[1] for line in lines}) == len(kept.USERS)
    assert json.loads((site.layout.config / "audit-policy.json").read_text())["kind"] == "Policy"
