"""One real cluster for the session, one engine on it, one namespace for each test that wants one.

VOP_TEST_STATE_DIR names a cluster to use and leave running, for work on the tests themselves; the one with a real node
has -real behind that name.
"""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import real_node
from support.engine import Engine, furnish
from support.fixtures import engine_kubeconfig, engine_processes, kubectl, operations
from support.kube import Kubectl

from local_cluster.cluster import LocalCluster

KEPT_STATE_DIR = "VOP_TEST_STATE_DIR"

__all__ = ("engine_kubeconfig", "engine_processes", "kubectl", "operations")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """The whole real stack: API server, controllers, Velero, S3, Temporal; CRDs, rights and Temporal set up."""
    kept = os.environ.get(KEPT_STATE_DIR)
    # Unix sockets and Temporal's database want a short path.
    local = LocalCluster(Path(kept) if kept else tmp_path_factory.mktemp("vop"))
    try:
        local.up(node="kwok")
        furnish(local)
        yield local
    finally:
        if not kept:
            local.down()


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """The same stack with a real node: pods are containers, volumes hold data, Velero runs in pods."""
    real_node.require()
    kept = os.environ.get(KEPT_STATE_DIR)
    local = LocalCluster(Path(f"{kept}-real") if kept else tmp_path_factory.mktemp("vop-real"))
    try:
        local.up(node="real")
        yield local
    finally:
        if not kept:
            local.down()


@pytest.fixture
def engine(engine_processes: Engine) -> Engine:
    """The session's engine, both processes running: whatever the test before killed is started again."""
    engine_processes.start("worker", "worker")
    engine_processes.start("controller", "controller")
    return engine_processes


@pytest.fixture
def namespace(kubectl: Kubectl) -> Iterator[str]:
    """A fresh namespace that the engine serves."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    labels = {"app.vworkspace.io/managed-by": "vworkspace"}
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    yield name
    kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")


@pytest.fixture
def app(kubectl: Kubectl, namespace: str) -> str:
    """A namespace with a small application in it: a Deployment, a ConfigMap and a Secret."""
    labels = {"app": "web"}
    container = {"name": "web", "image": "busybox", "command": ["sleep", "1000000000"]}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    meta = {"namespace": namespace}
    kubectl.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {**meta, "name": "settings"}, "data": {"a": "1"}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {**meta, "name": "keys"}, "stringData": {"k": "v"}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {**meta, "name": "web"}, "spec": spec},
    )
    return namespace
