"""`make demo` and `make demo-retry` as a person meets them, here where their output is no terminal."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.kube import Kubectl

from local_cluster.cluster import LocalCluster

ROOT = Path(__file__).parents[2]
NAMESPACES = ("shop", "shop-copy", "shop-small")
_HINT = re.compile(r"^  (\S.*)\n      \S", re.MULTILINE)


def demo(cluster: LocalCluster) -> str:
    """What `make demo` prints; raises AssertionError where it fails."""
    return made("demo", cluster)


def demo_retry(cluster: LocalCluster) -> str:
    """What `make demo-retry` prints; raises AssertionError where it fails."""
    return made("demo-retry", cluster)


def made(verb: str, cluster: LocalCluster) -> str:
    """What a verb of the Makefile prints, done with this cluster."""
    env = {**os.environ, "VOP_LOCAL_STATE_DIR": str(cluster.layout.root)}
    done = subprocess.run(["make", verb], cwd=ROOT, env=env, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def hints(told: str) -> list[str]:
    """The commands that it proposes to its reader."""
    return _HINT.findall(told.partition("Your turn")[2])


def proposed(told: str, having: str) -> str:
    """The one proposed command that has this in it."""
    (command,) = (one for one in hints(told) if having in one)
    return command


def typed(kubectl: Kubectl, command: str) -> str:
    """What a shell prints that stands in this folder and has the cluster's settings."""
    shell = ["sh", "-euc", command]
    done = subprocess.run(shell, cwd=ROOT, env=kubectl.env, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@contextmanager
def cleaned_up(cluster: LocalCluster, kubectl: Kubectl) -> Iterator[None]:
    """What the demo leaves running on purpose is no part of the tests' cluster."""
    try:
        yield
    finally:
        kubectl("delete", "namespace", *NAMESPACES, "--ignore-not-found")
        cluster.stop("engine")
