"""`make demo` as a person meets it, here where its output is no terminal."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.kube import Kubectl, Operations

from local_cluster.cluster import LocalCluster

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def after_the_demo(cluster: LocalCluster, kubectl: Kubectl) -> Iterator[None]:
    """What the demo leaves running on purpose is no part of the tests' cluster."""
    yield
    cluster.stop("engine")
    kubectl("delete", "namespace", "shop", "--wait=false", "--ignore-not-found")


def demo(cluster: LocalCluster) -> str:
    command = [sys.executable, "-m", "demo", "--state-dir", str(cluster.layout.root)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_demo_ends_with_a_verified_backup_and_each_run_makes_another(
    cluster: LocalCluster, operations: Operations, kubectl: Kubectl, after_the_demo: None
) -> None:
    told = [demo(cluster), demo(cluster)]

    for name, output in zip(("backup-shop", "backup-shop-2"), told, strict=True):
        status = operations.get("shop", name)["status"]
        assert status["phase"] == "Succeeded"
        assert status["workflow"]["url"] in output
        assert status["outputs"]["backupName"] in output
        for step in status["steps"]:
            assert f"  {step['name']}" in output
        assert "1 Deployment" in output
        assert "Succeeded in" in output
    assert cluster.pid("engine") is not None
    describe = next(line.strip() for line in told[1].splitlines() if "kubectl describe" in line)
    assert "Succeeded" in kubectl(*describe.split()[1:]).stdout
