"""An engine that has nothing to do asks nothing of the API server."""

import time
from collections import Counter

from support.audit import Audit
from support.engine import Engine
from support.kube import Kubectl, Operations, backup
from support.temporal import Temporal, workflow_id

from local_cluster.cluster import LocalCluster

WINDOW_S = 16


def test_after_every_operation_has_ended_nothing_is_written_and_nothing_polled(
    engine: Engine, cluster: LocalCluster, kubectl: Kubectl, operations: Operations, temporal: Temporal, app: str
) -> None:
    audit = Audit(cluster.env())
    kubectl.apply(backup(app))
    ended = operations.await_end(app)
    temporal.await_end(workflow_id(ended))
    assert any(request["verb"] == "update" for request in audit.requests()), "the log shows what the engine does"

    audit = Audit(cluster.env())
    time.sleep(WINDOW_S)  # the one thing that has no event: that nothing happens

    asked = Counter((r["verb"], r["objectRef"]["resource"]) for r in audit.requests())
    # A watch is renewed every minute or two, and lists again every five to ten minutes.
    assert {verb for verb, _ in asked} <= {"watch", "list"}, asked
    assert all(times == 1 for times in asked.values()), asked
