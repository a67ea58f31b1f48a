"""The demo where pods run no containers."""

from support.demo import cleaned_up, demo, hints
from support.kube import Kubectl, Operations

from local_cluster.cluster import LocalCluster


def test_the_demo_ends_with_a_verified_backup_and_each_run_makes_another(
    cluster: LocalCluster, operations: Operations, kubectl: Kubectl
) -> None:
    with cleaned_up(cluster, kubectl):
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
        describe = next(command for command in hints(told[1]) if "kubectl describe" in command)
        assert "Succeeded" in kubectl(*describe.split()[1:]).stdout
