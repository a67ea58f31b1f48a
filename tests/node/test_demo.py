"""The demo where pods run: the backup that it makes is proved by the commands that it prints."""

import subprocess

from support.demo import cleaned_up, demo, hints
from support.kube import Kubectl

from local_cluster.cluster import LocalCluster


def test_the_orders_of_the_demo_come_back_by_the_commands_that_it_proposes(
    cluster: LocalCluster, kubectl: Kubectl
) -> None:
    with cleaned_up(cluster, kubectl):
        told = demo(cluster)
        assert "20,000 rows in table orders" in told
        assert "the data of 1 volume (data of pod database-0)" in told

        _, describe, delete, restore, count = hints(told)
        assert "Succeeded" in typed(kubectl, describe)
        assert "deleted" in typed(kubectl, delete)
        assert "status: Completed" in typed(kubectl, restore)
        assert "20000" in typed(kubectl, count)


def typed(kubectl: Kubectl, command: str) -> str:
    """What a shell with the cluster's settings prints."""
    done = subprocess.run(
        ["sh", "-euc", command], env=kubectl.env, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout
