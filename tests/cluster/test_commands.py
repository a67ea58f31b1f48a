"""`vop doctor`, `vop setup` and the start of the processes, as an administrator meets them on a bad day."""

import os
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from support.engine import VOP
from support.kube import Kubectl

from local_cluster.cluster import LocalCluster
from operation_engine.doctor import Finding, examine
from operation_engine.runtime import kubernetes
from operation_engine.runtime.settings import Settings

Vop = Callable[..., subprocess.CompletedProcess[str]]
CLOSED = "127.0.0.1:1"


@pytest.fixture
def vop(cluster: LocalCluster, engine_kubeconfig: Path) -> Vop:
    """The command with the engine's own rights; keywords stand over the environment."""

    def call(*args: str, **environ: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, **cluster.env(), "KUBECONFIG": str(engine_kubeconfig), **environ}
        return subprocess.run([VOP, *args], env=env, capture_output=True, text=True, timeout=60, check=False)

    return call


@pytest.fixture
def powerless(cluster: LocalCluster, kubectl: Kubectl, namespace: str, tmp_path: Path) -> Path:
    """A kubeconfig of a service account that nobody gave a right."""
    kubectl("create", "serviceaccount", "nobody", "-n", namespace)
    path = tmp_path / "kubeconfig"
    path.write_text(cluster.kubeconfig_for(f"{namespace}/nobody"))
    return path


def test_doctor_finds_nothing_wrong_with_the_rights_that_deploy_grants(vop: Vop) -> None:
    done = vop("doctor")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "fault" not in done.stdout
    for subject in ("API server", "CRD of Operations", "permissions", "Velero", "storage location", "Temporal"):
        assert subject in done.stdout


def test_doctor_names_each_missing_right_and_the_file_that_grants_it(vop: Vop, powerless: Path) -> None:
    done = vop("doctor", KUBECONFIG=str(powerless))

    assert done.returncode == 1
    assert "update operations/status.ops.vworkspace.io" in done.stdout
    assert "create backups.velero.io in velero" in done.stdout
    assert "deploy/rbac.yaml" in done.stdout


def test_doctor_says_what_to_set_when_temporal_does_not_answer(vop: Vop) -> None:
    done = vop("doctor", TEMPORAL_ADDRESS=CLOSED)

    assert done.returncode == 1
    assert f"Temporal: {CLOSED} does not answer" in done.stdout
    assert "TEMPORAL_ADDRESS" in done.stdout


def test_doctor_sends_to_setup_where_temporal_has_no_such_namespace(vop: Vop) -> None:
    done = vop("doctor", TEMPORAL_NAMESPACE=f"no-{uuid.uuid4().hex[:6]}")

    assert done.returncode == 1
    assert "vop setup" in done.stdout


def test_doctor_says_that_the_api_server_does_not_answer(vop: Vop, engine_kubeconfig: Path, tmp_path: Path) -> None:
    text = engine_kubeconfig.read_text()
    server = next(line for line in text.splitlines() if "server:" in line)
    elsewhere = tmp_path / "kubeconfig"
    elsewhere.write_text(text.replace(server, f"    server: https://{CLOSED}"))

    done = vop("doctor", KUBECONFIG=str(elsewhere))

    assert done.returncode == 1
    assert "fault API server" in done.stdout
    assert "check KUBECONFIG" in done.stdout


def test_doctor_says_which_storage_location_is_missing(vop: Vop, cluster: LocalCluster) -> None:
    done = vop("doctor", VOP_VELERO_NAMESPACE="default", KUBECONFIG=cluster.env()["KUBECONFIG"])

    assert done.returncode == 1
    assert "no BackupStorageLocation is the default one" in done.stdout


async def test_doctor_sends_to_the_crds_where_the_cluster_does_not_know_operations(
    cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = kubernetes.Resource("ops.vworkspace.io", "v1alpha1", "nosuchthings")
    monkeypatch.setattr("operation_engine.doctor.OPERATIONS", unknown)
    monkeypatch.setenv("KUBECONFIG", cluster.env()["KUBECONFIG"])
    monkeypatch.setattr("kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", cluster.env()["KUBECONFIG"])
    settings = Settings(temporal_address=CLOSED)
    async with kubernetes.connect() as api:
        findings: list[Finding] = [finding async for finding in examine(settings, api)]

    crd = next(finding for finding in findings if finding.subject == "CRD of Operations")
    assert crd.fault is not None
    assert "deploy/crds" in crd.advice


def test_setup_makes_a_namespace_once_and_says_so(vop: Vop) -> None:
    name = f"setup-{uuid.uuid4().hex[:6]}"

    first, second = vop("setup", TEMPORAL_NAMESPACE=name), vop("setup", TEMPORAL_NAMESPACE=name)

    assert first.returncode == 0, first.stderr
    assert f"made: namespace {name}" in first.stdout
    assert second.returncode == 0, second.stderr
    assert "is set up" in second.stdout


def test_a_worker_refuses_to_start_where_temporal_is_not_set_up(vop: Vop, cluster: LocalCluster) -> None:
    name = f"bare-{uuid.uuid4().hex[:6]}"
    create = ["temporal", "operator", "namespace", "create", "-n", name, "--address", cluster.env()["TEMPORAL_ADDRESS"]]
    subprocess.run(create, env={**os.environ, **cluster.env()}, check=True, capture_output=True, timeout=60)

    done = vop("worker", TEMPORAL_NAMESPACE=name)

    assert done.returncode == 1
    assert "run `vop setup`" in done.stderr


@pytest.mark.parametrize(
    ("variable", "value"), [("VOP_HTTP_PORT", "many"), ("VOP_STORAGE_LOCATIONS", "{eu"), ("VOP_RETENTION_DAYS", "x")]
)
def test_a_wrong_setting_is_named(vop: Vop, variable: str, value: str) -> None:
    done = vop("run", **{variable: value})

    assert done.returncode == 1
    assert variable in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_way_to_the_api_server_the_engine_says_what_to_set(vop: Vop, tmp_path: Path) -> None:
    done = vop("run", KUBECONFIG=str(tmp_path / "nothing"))

    assert done.returncode == 1
    assert "set KUBECONFIG" in done.stderr
    assert "Traceback" not in done.stderr
