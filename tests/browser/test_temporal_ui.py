"""What an operator reads of a Backup in the real Temporal UI, while it runs and after it ended."""

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect
from support.engine import Engine
from support.kube import Kubectl, Operations, backup
from support.temporal_ui import NEWS_FEED, WITHIN_MS, TemporalUi

from local_cluster.cluster import LocalCluster

SUMMARIES = (
    "Claim the Operation",
    "Check spec, namespace and target",
    "Check the storage location",
    "Create the Velero Backup",
    "Verify what the bucket holds",
    "Write the end",
)
STEPS = ("Admit", "CheckStorageLocation", "CreateBackup", "FollowBackup", "VerifyBackup")


def test_the_list_can_be_filtered_by_target_and_its_row_names_the_operation(
    engine: Engine, kubectl: Kubectl, operations: Operations, app: str, ui: TemporalUi
) -> None:
    kubectl.apply(backup(app, "first"), backup(app, "second", parameters={"storageLocation": "nowhere"}))
    operations.await_end(app, "first")
    operations.await_end(app, "second")

    ui.open_list(f'OpsTarget="{app}/{app}" AND OpsType="Backup" AND OpsPhase="Succeeded"')

    rows = ui.page.get_by_role("row").filter(has=ui.page.get_by_role("link"))
    expect(rows).to_have_count(1, timeout=WITHIN_MS)
    expect(rows.first).to_contain_text(f"operation/{app}/first/")
    expect(rows.first).to_contain_text("BackupWorkflow")
    expect(rows.first).to_contain_text("Completed", ignore_case=True)


def test_the_link_in_the_status_opens_the_run_with_every_step_named_on_the_timeline(
    engine: Engine, kubectl: Kubectl, operations: Operations, app: str, ui: TemporalUi
) -> None:
    kubectl.apply(backup(app))
    ended = operations.await_end(app)

    ui.open_run(ended["status"]["workflow"]["url"])

    expect(ui.page.get_by_role("heading", name=f"operation/{app}/backup/")).to_be_visible()
    for summary in SUMMARIES:
        expect(ui.page.get_by_text(summary).first).to_be_visible()


def test_the_details_of_an_ended_backup_tell_every_step_and_what_was_verified(
    engine: Engine, kubectl: Kubectl, operations: Operations, app: str, ui: TemporalUi
) -> None:
    kubectl.apply(backup(app))
    status = operations.await_end(app)["status"]

    ui.open_run(status["workflow"]["url"])
    ui.open_details()

    assert ui.summary().strip() == f"Backup {app}/{app}"
    details = ui.details(until="Succeeded · VeleroBackupSucceeded")
    for step in STEPS:
        assert f"{step} · Succeeded" in details
    assert f"{status['outputs']['backupItemCount']} items of" in details
    assert status["outputs"]["backupName"] in details


def test_the_details_of_a_refused_operation_tell_why_and_what_to_do(
    engine: Engine, kubectl: Kubectl, operations: Operations, app: str, ui: TemporalUi
) -> None:
    kubectl.apply(backup(app, parameters={"storageLocatoin": "default"}))
    status = operations.await_end(app)["status"]

    ui.open_run(status["workflow"]["url"])
    expect(ui.page.get_by_test_id("execution-status").first).to_have_text("Failed", ignore_case=True)
    assert "stackTrace" not in ui.page.locator("main").inner_text()
    ui.open_details()

    details = ui.details(until="Failed · ValidationFailed")
    assert "storageLocatoin" in details
    assert "did you mean storageLocation?" in details
    assert "under another name" in details
    assert "Admit · Failed" in details
    assert "VerifyBackup · Skipped" in details


@pytest.fixture
def velero_down(cluster: LocalCluster) -> Iterator[None]:
    """Velero is stopped, so what it last said of its storage location stands. Started again, it looks anew."""
    cluster.stop("velero")
    try:
        yield
    finally:
        cluster.start("velero")


def test_while_a_backup_waits_the_details_tell_for_what_and_then_follow_it_on(
    engine: Engine,
    cluster: LocalCluster,
    kubectl: Kubectl,
    operations: Operations,
    app: str,
    velero_down: None,
    ui: TemporalUi,
) -> None:
    unavailable = json.dumps({"status": {"phase": "Unavailable"}})
    kubectl("patch", "backupstoragelocation", "default", "-n", "velero", "--type=merge", "-p", unavailable)
    kubectl.apply(backup(app))
    blocked = '{.status.conditions[?(@.type=="Blocked")].status}'
    waiting = operations.await_path(app, "backup", blocked, "True")

    ui.open_run(waiting["status"]["workflow"]["url"])
    ui.open_details()
    details = ui.details(until="CheckStorageLocation · Waiting since")
    assert waiting["status"]["message"] in details
    assert "CreateBackup · Pending" in details

    cluster.start("velero")
    ui.details(until="VerifyBackup · Succeeded")


def test_while_velero_works_the_details_tell_the_step_under_way(
    engine: Engine, kubectl: Kubectl, operations: Operations, app: str, velero_down: None, ui: TemporalUi
) -> None:
    kubectl.apply(backup(app))
    running = operations.await_path(app, "backup", "{.status.step}", "FollowBackup")

    ui.open_run(running["status"]["workflow"]["url"])
    expect(ui.page.get_by_text("Follow Velero").first).to_be_visible()
    ui.open_details()
    details = ui.details(until="FollowBackup · Running since")
    assert "CreateBackup · Succeeded" in details
    assert "VerifyBackup · Pending" in details


def test_the_ui_asks_nobody_on_the_internet_but_its_news_feed(
    engine: Engine, kubectl: Kubectl, operations: Operations, app: str, ui: TemporalUi
) -> None:
    kubectl.apply(backup(app))
    status = operations.await_end(app)["status"]

    ui.open_list(f'OpsTarget="{app}/{app}"')
    ui.open_run(status["workflow"]["url"])
    ui.open_details()
    ui.details(until="Succeeded")

    assert [url for url in ui.foreign if NEWS_FEED not in url] == []
