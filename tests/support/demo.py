"""`make demo` as a person meets it, here where its output is no terminal."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.kube import Kubectl

from local_cluster.cluster import LocalCluster

ROOT = Path(__file__).parents[2]
_HINT = re.compile(r"^  (\S.*)\n      \S", re.MULTILINE)


def demo(cluster: LocalCluster) -> str:
    """What it prints; raises AssertionError where it fails."""
    command = [sys.executable, "-m", "demo", "--state-dir", str(cluster.layout.root)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def hints(told: str) -> list[str]:
    """The commands that it proposes to try."""
    return _HINT.findall(told.partition("Try next")[2])


@contextmanager
def cleaned_up(cluster: LocalCluster, kubectl: Kubectl) -> Iterator[None]:
    """What the demo leaves running on purpose is no part of the tests' cluster."""
    try:
        yield
    finally:
        cluster.stop("engine")
        kubectl("delete", "namespace", "shop", "--wait=false", "--ignore-not-found")
