"""A run that is cancelled, or terminated, in the real Temporal UI: the Operation tells its end."""

from support.engine import Engine
from support.kube import Kubectl, Operations, backup
from support.temporal_ui import TemporalUi

WAITS = {"approvals": {"required": True}}


def test_request_cancellation_in_the_ui_cancels_the_operation(
    engine: Engine, kubectl: Kubectl, operations: Operations, app: str, ui: TemporalUi
) -> None:
    kubectl.apply(backup(app, **WAITS))
    waiting = operations.await_path(app, "backup", "{.status.reason}", "AwaitingApproval")
    ui.open_run(waiting["status"]["workflow"]["url"])
    ui.request_cancellation()
    status = operations.await_end(app)["status"]
    assert (status["phase"], status["reason"]) == ("Cancelled", "CancelledByUser")
    ui.open_run(waiting["status"]["workflow"]["url"])
    ui.open_details()
    details = ui.details(until="Cancelled · CancelledByUser")
    assert "under another name" in details


def test_terminate_in_the_ui_fails_the_operation_with_what_was_typed(
    engine: Engine, kubectl: Kubectl, operations: Operations, app: str, ui: TemporalUi
) -> None:
    kubectl.apply(backup(app, **WAITS))
    waiting = operations.await_path(app, "backup", "{.status.reason}", "AwaitingApproval")
    ui.open_run(waiting["status"]["workflow"]["url"])
    ui.terminate("the shop is sold")
    status = operations.await_end(app)["status"]
    assert (status["phase"], status["reason"]) == ("Failed", "AbortedByUser")
    assert "the shop is sold" in status["message"]
