"""What tests of this level are given belongs to the real node, whatever ran before them in the session."""

from support.kube import Kubectl

from local_cluster.cluster import LocalCluster
from local_cluster.state import NodeKind


def test_kubectl_speaks_to_the_cluster_whose_pods_run(cluster: LocalCluster, kubectl: Kubectl) -> None:
    assert cluster.node is NodeKind.REAL
    assert kubectl.env["KUBECONFIG"] == cluster.env()["KUBECONFIG"]
    assert kubectl.json("get", "node", "local")["status"]["nodeInfo"]["containerRuntimeVersion"].startswith(
        "containerd"
    )
