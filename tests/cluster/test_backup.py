"""A Backup Operation on the whole real stack, as a person with kubectl meets it."""

from support.engine import Engine
from support.kube import Kubectl, Operations, backup


def test_an_applied_backup_succeeds_and_says_what_was_verified(
    engine: Engine, kubectl: Kubectl, operations: Operations, app: str
) -> None:
    kubectl.apply(backup(app))

    ended = operations.await_end(app)

    assert ended["status"]["phase"] == "Succeeded", ended["status"]["message"]
    assert ended["status"]["outputs"]["backupItemCount"] != "0"
    assert operations.condition(ended, "Verified")["status"] == "True"
    velero = kubectl.json("get", "backups.velero.io", "-n", "velero", ended["status"]["outputs"]["backupName"])
    assert velero["status"]["phase"] == "Completed"
    assert velero["spec"]["includedNamespaces"] == [app]
