"""The demo where pods run, by `make` as its reader types it: the orders come back, by a retry too."""

from support.demo import cleaned_up, demo, demo_retry, typed
from support.kube import Kubectl, Operations

from local_cluster.cluster import LocalCluster

COUNT = "kubectl exec -n {} database-0 -c postgres -- psql --tuples-only --command 'SELECT count(*) FROM orders'"


def test_the_orders_of_a_lost_shop_come_back_and_so_they_do_by_a_retry(
    cluster: LocalCluster, kubectl: Kubectl, operations: Operations
) -> None:
    with cleaned_up(cluster, kubectl):
        told = demo(cluster)
        assert "the data of 1 volume (data of pod database-0)" in told
        assert told.count("20,000 orders, checksum ") == 3
        assert "The same." in told
        assert kubectl("get", "namespace", "shop", check=False).returncode != 0, "the shop is lost"
        assert typed(kubectl, COUNT.format("shop-copy")).strip() == "20000"
        assert operations.get("shop-small", "restore-small")["status"]["reason"] == "AwaitingDecision"

        told = demo_retry(cluster)
        assert told.count("20,000 orders, checksum ") == 2
        assert "1. Initial    Failed     VeleroRestorePartiallyFailed" in told
        assert "2. Human      Succeeded  VeleroRestoreCompleted" in told
        assert typed(kubectl, COUNT.format("shop-small")).strip() == "20000"
