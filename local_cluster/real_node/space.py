"""The mount namespace that the node's programs share, held by a process that does nothing else.

Every mount of containerd, the kubelet and their pods lies in it and vanishes with it, and the folders
that they insist on are the cluster's own in there. Used by `node`.
"""

import os
from pathlib import Path

from local_cluster import processes, procfs
from local_cluster.layout import Layout
from local_cluster.parts import Part, Site
from local_cluster.real_node import machine

NAME = "node-space"
HOLDER = ("sleep", "infinity")

# As the node's programs see them; the usual places, so that manifests written for any node fit this one.
KUBELET_ROOT = Path("/var/lib/kubelet")
CONTAINERD_ROOT = Path("/var/lib/containerd")

# The kubelet sets these for the whole machine if it does not find them so; in here it finds them.
_TUNABLES = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1_000_000,
    "kernel/keys/root_maxbytes": 25_000_000,
}

# $1 is the state dir, $2 a folder in it for what lives as long as the namespace.
# The state dir is kept open: it may itself lie below one of the folders that are covered.
_SCRIPT = f"""
exec 3<"$1"
mount -t tmpfs -o mode=0755 {NAME} "$2"
for folder in /run /var/lib /var/log; do
  mkdir -p "$2/new$folder" "$2/work$folder"
  mount -t overlay -o "lowerdir=$folder,upperdir=$2/new$folder,workdir=$2/work$folder" {NAME} "$folder"
  case "$1/" in "$folder"/*) mount --no-canonicalize --bind /proc/self/fd/3 "$1";; esac
done
bind() {{ mkdir -p "$2"; mount --bind "$1" "$2"; }}
bind "$1/data/kubelet" {KUBELET_ROOT}
bind "$1/data/containerd" {CONTAINERD_ROOT}
tunable() {{ echo "$2" >"$TUNABLES/${{1##*/}}"; mount --bind "$TUNABLES/${{1##*/}}" "/proc/sys/$1"; }}
TUNABLES="$2/tunables"; mkdir "$TUNABLES"
{chr(10).join(f"tunable {name} {value}" for name, value in _TUNABLES.items())}
exec 3<&-
mount --make-rshared /
exec {" ".join(HOLDER)}
"""


def space(site: Site) -> Part:
    """The process that holds the namespace; before it starts, whatever is left of an earlier node is ended."""
    layout = site.layout
    return Part(
        NAME,
        HOLDER,
        launcher=lambda: (
            *("unshare", "--mount", "--propagation", "private"),
            *("sh", "-eu", "-c", _SCRIPT, NAME, str(layout.root), str(layout.node_space)),
        ),
        prepare=lambda: machine.prepare(site),
        ready=lambda: holder(layout) is not None,
    )


def holder(layout: Layout) -> int | None:
    """The pid that holds the finished namespace."""
    found = processes.leader(processes.owned(layout), NAME)
    complete = found is not None and procfs.command_line(found.process.pid) == HOLDER
    return found.process.pid if found and complete else None


def inside(layout: Layout) -> tuple[str, ...]:
    """What to put before a command so that it runs in the namespace."""
    return ("nsenter", f"--mount=/proc/{holder(layout)}/ns/mnt", "--")


def is_inside(layout: Layout, pid: int) -> bool:
    """Whether a process lives in the namespace of today."""
    held = holder(layout)
    try:
        return held is not None and os.readlink(f"/proc/{pid}/ns/mnt") == os.readlink(f"/proc/{held}/ns/mnt")
    except OSError:
        return False
