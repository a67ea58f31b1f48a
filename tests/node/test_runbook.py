"""The runbook, typed command by command where pods run: what it shows is what comes."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.demo import cleaned_up
from support.kube import Kubectl
from support.runbook import Typed, is_shown, typed

from local_cluster.cluster import LocalCluster

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/operate/backup-restore-runbook.md"


@pytest.fixture
def cleared(cluster: LocalCluster, kubectl: Kubectl) -> Iterator[None]:
    with cleaned_up(cluster, kubectl):
        yield
    kubectl("delete", "namespace", "shop-drill", "--ignore-not-found")


def printed(block: Typed, kubectl: Kubectl, cluster: LocalCluster) -> str:
    """What a shell prints that stands in the repository's folder and means this cluster by the default one."""
    env = {**os.environ, "VOP_LOCAL_STATE_DIR": str(cluster.layout.root), "PATH": kubectl.env["PATH"]}
    shell = ["bash", "-euc", f'eval "$(.venv/bin/vop local env)"\n{block.commands}']
    done = subprocess.run(shell, cwd=ROOT, env=env, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{block.commands}{done.stdout}{done.stderr}"
    return done.stdout


# A whole demo, a backup and three restores.
@pytest.mark.timeout(900)
def test_every_command_of_the_runbook_prints_what_it_shows(
    cluster: LocalCluster, kubectl: Kubectl, cleared: None
) -> None:
    blocks = typed(PAGE.read_text())
    assert len(blocks) > 10
    for block in blocks:
        real = printed(block, kubectl, cluster)
        if block.shown is not None:
            assert is_shown(real, block.shown), f"{block.commands}prints\n{real}and the page shows\n{block.shown}"
