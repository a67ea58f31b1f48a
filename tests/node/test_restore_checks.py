"""What was restored is looked at: each check with an application that holds it, and one that does not."""

from collections.abc import Iterator
from typing import Any

import pytest
from support.engine import Engine
from support.kube import Kubectl, Operations
from support.saved import Saved, step
from support.world import deployment, files_on_a_volume, fresh_namespace

from local_cluster import images

Json = dict[str, Any]
AT_ONCE = {"decisionTimeout": "0s"}
SAYS_500 = '#!/bin/sh\nprintf "Status: 500 Internal Server Error\\r\\n\\r\\nno\\n"\n'
SERVE = """
mkdir -p /tmp/www/cgi-bin
cp /pages/index.html /tmp/www/
cp /pages/broken /tmp/www/cgi-bin/
chmod +x /tmp/www/cgi-bin/broken
exec httpd -f -p 8080 -h /tmp/www
"""


def runnable(namespace: str, name: str, script: str, **spec: Any) -> Json:
    """A Deployment of a shell script in the local image."""
    container = {
        "name": name,
        "image": images.BUSYBOX,
        "imagePullPolicy": "Never",
        "command": ["sh", "-euc", script],
        **spec.pop("container", {}),
    }
    spec = {"terminationGracePeriodSeconds": 0, "containers": [container], **spec}
    found = deployment(namespace, name, **spec)
    found["metadata"]["labels"] = {"app": name}
    return found


def web(namespace: str) -> list[Json]:
    """A web server that answers 200 at / and 500 at /cgi-bin/broken, behind a Service."""
    meta = {"namespace": namespace, "name": "web", "labels": {"app": "web"}}
    pages = {"index.html": "<h1>here</h1>", "broken": SAYS_500}
    mounted = {"volumeMounts": [{"name": "pages", "mountPath": "/pages"}]}
    volumes = [{"name": "pages", "configMap": {"name": "web"}}]
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": pages},
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec},
        runnable(namespace, "web", SERVE, container=mounted, volumes=volumes),
    ]


def left_out(namespace: str) -> Json:
    """Its volume is opted out of backups."""
    found = files_on_a_volume(namespace)
    annotations = {"backup.velero.io/backup-volumes-excludes": "data"}
    found["spec"]["template"]["metadata"]["annotations"] = annotations
    found["metadata"]["labels"] = {"app": "files"}
    return found


@pytest.fixture(scope="module")
def saved(running_engine: Engine, kubectl: Kubectl, operations: Operations) -> Iterator[Saved]:
    """A namespace with an application for each check, and its backup."""
    with fresh_namespace(kubectl) as ns:
        idle = "exec sleep 1000000000"
        kubectl.apply(
            *web(ns),
            left_out(ns),
            runnable(ns, "nowhere", idle, nodeSelector={"kubernetes.io/hostname": "nowhere"}),
            runnable(ns, "unknown", idle, container={"image": "vop.local/unknown:1"}),
        )
        for workload in ("deployment/web", "statefulset/files"):
            kubectl("rollout", "status", workload, "-n", ns, "--timeout=60s")
        yield Saved(kubectl, operations, ns)


@pytest.fixture
def copy(engine: Engine, saved: Saved) -> Iterator[str]:
    with saved.destination() as name:
        yield name


def only(app: str, **verify: Any) -> Json:
    return {"labelSelector": {"matchLabels": {"app": app}}, "verify": verify}


WORKLOADS = {
    "nowhere": ("pod nowhere-", "0/1 nodes are available"),
    "unknown": ("container unknown: ErrImageNeverPull", "vop.local/unknown:1"),
}


@pytest.mark.parametrize("app", WORKLOADS)
def test_a_pod_that_cannot_run_fails_the_restore_with_its_cause(saved: Saved, copy: str, app: str) -> None:
    status = saved.into(copy, parameters=only(app, timeout="4s"), policy=AT_ONCE)
    assert (status["phase"], status["reason"]) == ("Failed", "VerificationFailed"), status["message"]
    assert f"After 4s: Deployment/{app}: 0 of 1 pods are ready" in status["message"]
    assert all(words in status["message"] for words in WORKLOADS[app]), status["message"]
    assert step(status, "VerifyWorkloads")["state"] == "Failed"
    assert step(status, "VerifyContents")["state"] == "Succeeded", "it was brought back"


def test_an_application_that_answers_is_said_to_have_answered(saved: Saved, copy: str) -> None:
    http = {"url": f"http://web.{copy}.svc/"}
    status = saved.into(copy, parameters=only("web", timeout="30s", http=http))
    assert status["phase"] == "Succeeded", status["message"]
    assert f"http://web.{copy}.svc/ answered 200." in status["message"]
    assert step(status, "VerifyHttp")["state"] == "Succeeded"


def test_an_application_that_answers_500_fails_the_restore(saved: Saved, copy: str) -> None:
    http = {"url": "http://web/cgi-bin/broken"}
    status = saved.into(copy, parameters=only("web", timeout="10s", http=http), policy=AT_ONCE)
    assert (status["phase"], status["reason"]) == ("Failed", "VerificationFailed"), status["message"]
    assert "After 10s: http://web/cgi-bin/broken: it answered 500, not 200." in status["message"]
    assert step(status, "VerifyWorkloads")["state"] == "Succeeded"
    assert step(status, "VerifyHttp")["state"] == "Failed"


def test_a_500_that_is_expected_is_what_was_asked_for(saved: Saved, copy: str) -> None:
    http = {"url": "http://web/cgi-bin/broken", "expectStatus": 500}
    status = saved.into(copy, parameters=only("web", timeout="30s", http=http))
    assert status["phase"] == "Succeeded", status["message"]
    assert "http://web/cgi-bin/broken answered 500." in status["message"]


def test_a_volume_that_the_backup_left_out_comes_back_empty_and_is_told_so(
    kubectl: Kubectl, saved: Saved, copy: str
) -> None:
    status = saved.into(copy, parameters=only("files"))
    assert status["phase"] == "Succeeded", status["message"]
    assert "EMPTY, for the backup holds no data of it: PersistentVolumeClaim data-files-0." in status["message"]
    assert "Data came back" not in status["message"]
    assert status["outputs"]["volumeCount"] == "0"
    assert kubectl("exec", "files-0", "-n", copy, "--", "ls", "/data").stdout == ""
