"""The namespaces that the shop is copied into: one that has room for it, and one whose quota has none.

A run begins without those of the run before; what waits there for a decision is aborted first, so that no workflow is
left waiting for an Operation that is gone.
"""

from pathlib import Path

from demo import operations
from demo.engine import VOP
from demo.shop import NAMESPACE, SAMPLES
from demo.terminal import Terminal

COPY, SMALL = "shop-copy", "shop-small"
RESTORE_SMALL = "restore-small"
QUOTA = "no-room"
COPY_MANIFEST = SAMPLES / "restore-copy.yaml"
SMALL_MANIFEST = Path(__file__).parent / "manifests/shop-small.yaml"
CONSENT = ("kubectl", "annotate", "namespace", NAMESPACE, f"ops.vworkspace.io/restore-to={COPY},{SMALL}", "--overwrite")
LOSE = ("kubectl", "delete", "namespace", NAMESPACE)
MEND = ("kubectl", "delete", "resourcequota", QUOTA, "-n", SMALL)


def forget(terminal: Terminal) -> bool:
    """Begin to remove what a run before left; whether there was something."""
    for name in operations.names(terminal, SMALL):
        if operations.look(terminal, SMALL, name).waits:
            terminal.run(VOP, "abort", f"{SMALL}/{name}")
            # Told to the end: the engine writes into the namespace, and that is soon gone.
            ended = "--for=jsonpath={.status.finishedAt}"
            terminal.run("kubectl", "wait", f"operation/{name}", "-n", SMALL, ended, "--timeout=60s")
    was = terminal.run("kubectl", "delete", "namespace", COPY, SMALL, "--ignore-not-found", "--wait=false")
    return bool(was.strip())


def await_forgotten(terminal: Terminal) -> None:
    """Until nothing of a run before is there any more."""
    terminal.run("kubectl", "delete", "namespace", COPY, SMALL, "--ignore-not-found")


def retry(terminal: Terminal) -> str:
    """Retry what waits; what the engine answers."""
    return terminal.run(VOP, "retry", f"{SMALL}/{RESTORE_SMALL}").strip()
