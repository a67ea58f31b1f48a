"""What a cluster's parts are doing now, for `vop local status` and tests; used by `cluster`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from local_cluster import processes, procfs
from local_cluster.layout import Layout
from local_cluster.parts import Part
from local_cluster.processes import Owned
from local_cluster.procfs import Process
from local_cluster.real_node import workloads


@dataclass(frozen=True)
class PartStatus:
    """One part as it is now; `pid` is None where it does not run. Memory includes its children."""

    name: str
    pid: int | None
    since: float | None
    memory_bytes: int
    ports: Mapping[str, int]
    ready: bool

    @property
    def running(self) -> bool:
        """Whether its program lives."""
        return self.pid is not None


def of_process(name: str, found: Sequence[Owned], part: Part | None, ports: Mapping[str, int]) -> PartStatus:
    """A part that is a process of this machine; `part` is None for an extra program."""
    running = processes.leader(found, name)
    crowd = [one.process for one in found if one.part == name]
    names = part.ports if part else ()
    ready = running is not None and (part is None or part.ready())
    return _status(name, running.process if running else None, crowd, {one: ports[one] for one in names}, ready)


def of_pod(name: str, layout: Layout, ready: bool) -> PartStatus:
    """A part that is a pod."""
    leader = workloads.process(layout, name)
    crowd = workloads.family(layout, leader) if leader else []
    return _status(name, leader, crowd, {}, leader is not None and ready)


def _status(
    name: str, leader: Process | None, crowd: Sequence[Process], ports: Mapping[str, int], ready: bool
) -> PartStatus:
    return PartStatus(
        name=name,
        pid=leader.pid if leader else None,
        since=procfs.started_at(leader) if leader else None,
        memory_bytes=sum(procfs.resident_bytes(one.pid) for one in crowd),
        ports=ports,
        ready=ready,
    )
