"""A local cluster as an object: what the command and the tests call.

Every change holds the lock of the state dir, so that two commands at once take turns.
"""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import local_cluster.state as kept
from local_cluster import (
    builder,
    catalogue,
    choices,
    families,
    ports,
    processes,
    procfs,
    seaweedfs,
    status,
    temporal,
    velero,
)
from local_cluster.errors import LocalClusterError
from local_cluster.files import (
    MEGABYTE,
    locked,
    make_folder,
    require_free_space,
    tail,
)
from local_cluster.kube import kubeconfig, write_kubeconfig
from local_cluster.layout import Layout, cache_root
from local_cluster.oci import Image
from local_cluster.parts import Site
from local_cluster.processes import Launch, Owned
from local_cluster.progress import Progress, Silent
from local_cluster.real_node import containerd, machine, workloads
from local_cluster.real_node import velero as velero_pods
from local_cluster.starter import STOP_SECONDS, Starter, in_waves
from local_cluster.state import NodeKind, Phase, State
from local_cluster.status import PartStatus

_STATE_ROOM = 500 * MEGABYTE
_EXTRA_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")
_YEAR = "8760h"
_PLUGINS = ("bridge", "host-local", "loopback")  # CNI's; a person's `bridge` is another


class LocalCluster:
    """The cluster in one state dir, whether it exists already or not."""

    def __init__(self, state_dir: Path | str = ".local", progress: Progress | None = None) -> None:
        """Look at nothing yet."""
        self.layout = Layout.of(state_dir)
        self._progress: Progress = progress or Silent()

    def up(self, *, node: str = choices.AUTO, fresh: bool = False, new_ports: bool = False) -> None:
        """Have every part running and ready; whatever state an earlier `up` was killed in.

        `node` is real (pods are containers), kwok (they are not), or auto: what the cluster was begun with,
        and for a new one real where that can be. `fresh` begins with an empty cluster, `new_ports` keeps
        the data and moves to other ports and addresses.
        """
        self._require_usable()
        with self._lock():
            kind = self._node_kind(node, fresh)
            self._finish_wipe(fresh)
            require_free_space(self.layout.root, _STATE_ROOM, "A local cluster")
            site = Site(self.layout, self._kept_state(kind, new_ports), self._programs(kind))
            self._furnish(site)
            self._end_former()
            if kind is NodeKind.REAL:
                machine.mend(site)
            else:
                machine.clear(self.layout)
            starter = Starter(site, self._progress)
            starter.start_all(catalogue.parts(site))
            write_kubeconfig(self.layout.kubeconfig("admin"), site.kube("admin"), "admin")
            if kind is NodeKind.REAL:
                starter.after_parts(", ".join(workloads.NAMES), lambda: workloads.install(site))
                workloads.settle(site)

    def down(self) -> None:
        """End every process of the cluster, whoever started it; what it keeps stays."""
        if not self.layout.lock.exists():  # never locked, never started; or the folder was removed by hand
            self._end_all()
            return
        with self._lock():
            self._end_all()

    def start(self, name: str) -> None:
        """Start one part and wait until it is ready."""
        with self._locked():
            self._start(name)

    def stop(self, name: str) -> None:
        """End one part, or a program started by `run`."""
        self._require_name(name)
        with self._locked():
            self._stop(name)

    def restart(self, name: str) -> None:
        """End one part and start it again."""
        with self._locked():
            self._stop(name)
            self._start(name)

    def kill(self, name: str) -> None:
        """SIGKILL one part with its children, as a crash would."""
        self._require_name(name)
        with self._locked():
            if self._is_pod(name):
                workloads.kill(self.layout, name)
            else:
                processes.kill(self.layout, [name])

    def pid(self, name: str) -> int | None:
        """The process started as `name`, or None."""
        if self._is_pod(name):
            program = workloads.process(self.layout, name)
            return program.pid if program else None
        found = processes.leader(processes.owned(self.layout), name)
        return found.process.pid if found else None

    def run(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> int:
        """Have `argv` running as an extra part called `name`, and return its pid.

        It gets this process's environment, what `env()` says, and `env`. One that runs with the same
        command already is left alone; another command replaces it.
        """
        _require_extra_name(name)
        command, wanted = tuple(argv), {**self.env(), **(env or {})}
        with self._locked():
            running = processes.leader(processes.owned(self.layout), name)
            if running and _runs(running, command, env or {}):
                return running.process.pid
            processes.end(self.layout, [name], STOP_SECONDS)
            launch = Launch(name, command, {**os.environ, **wanted}, folder or Path.cwd())
            return processes.spawn(self.layout, launch, self._require_state().id).pid

    def log_file(self, name: str) -> Path:
        """Where a part writes; for a pod that of its newest container, so ask again after it was replaced."""
        self._require_name(name)
        found = workloads.log_file(self.layout, name) if self._is_pod(name) else None
        return found or self.layout.log(name)

    def logs(self, name: str, lines: int = 10_000) -> str:
        """The end of what a part has written."""
        return tail(self.log_file(name), lines)

    def load_image(self, image: Image) -> None:
        """Have an image on the real node, for pods with `imagePullPolicy: Never` or `IfNotPresent`."""
        with self._locked():
            state = self._require_state()
            if state.node is not NodeKind.REAL:
                raise LocalClusterError("Pods of kwok run no images; an image needs a cluster with --node real.")
            containerd.load(Site(self.layout, state, self._programs(state.node)), (image,))

    @property
    def node(self) -> NodeKind | None:
        """What kind of node the cluster has; None before the first `up`."""
        state = kept.load(self.layout)
        return state.node if state else None

    def env(self) -> dict[str, str]:
        """What a program needs to use this cluster; PATH is this process's, with ours in front."""
        state = self._require_state()
        site = Site(self.layout, state, {})
        return {
            "KUBECONFIG": str(self.layout.kubeconfig("admin")),
            "KUBE_AUDIT_LOG": str(self.layout.audit_log),
            "TEMPORAL_ADDRESS": f"{ports.LOOPBACK}:{state.ports['temporal']}",
            "TEMPORAL_NAMESPACE": temporal.NAMESPACE,
            "TEMPORAL_UI_URL": site.url("temporal-ui"),
            "S3_ENDPOINT": site.url("s3"),
            "S3_BUCKET": seaweedfs.BUCKET,
            "AWS_ACCESS_KEY_ID": state.s3_access_key,
            "AWS_SECRET_ACCESS_KEY": state.s3_secret_key,
            "AWS_REGION": velero.REGION,
            "PATH": f"{self.layout.bin}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        }

    def status(self) -> dict[str, PartStatus]:
        """Every part, and every extra program that runs."""
        state, found = kept.load(self.layout), processes.owned(self.layout)
        asked = state if state and choices.complete(state) else None
        parts = catalogue.parts(Site(self.layout, asked, _NoPrograms())) if asked else {}
        extras = sorted({one.part for one in found} - set(self._names()))
        pods = [name for name in self._names() if self._is_pod(name)]
        ready = bool(pods and asked) and velero_pods.is_ready(Site(self.layout, self._require_state(), {}))
        return {
            name: status.of_pod(name, self.layout, ready)
            if name in pods
            else status.of_process(name, found, parts.get(name), asked.ports if asked else {})
            for name in (*self._names(), *extras)
        }

    def kubeconfig_for(self, service_account: str) -> str:
        """A kubeconfig (text) with the identity of a ServiceAccount, given as NAMESPACE/NAME."""
        namespace, _, name = service_account.partition("/")
        if not namespace or not name:
            raise LocalClusterError(f"{service_account!r} is not NAMESPACE/NAME of a ServiceAccount.")
        site = Site(self.layout, self._require_state(), {})
        return kubeconfig(
            site.url("kube-apiserver", "https"),
            self.layout.serving_certificate,
            name,
            self._token(namespace, name),
        )

    def _token(self, namespace: str, name: str) -> str:
        kubectl = str(catalogue.packaged_programs()["kubectl"])
        answer = subprocess.run(
            [kubectl, "create", "token", name, f"--namespace={namespace}", f"--duration={_YEAR}"],
            env={**os.environ, **self.env()},
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode != 0:
            raise LocalClusterError(
                f"No token for ServiceAccount {namespace}/{name}; create it first, and see that the cluster is up.",
                answer.stderr.strip(),
            )
        return answer.stdout.strip()

    def _names(self) -> tuple[str, ...]:
        return catalogue.names(self.node or NodeKind.KWOK)

    def _is_pod(self, name: str) -> bool:
        return name in workloads.NAMES and self.node is NodeKind.REAL

    def _require_usable(self) -> None:
        if not procfs.PROC.joinpath("self/stat").exists():
            raise LocalClusterError("A local cluster needs Linux: its processes are found in /proc.")
        self.layout.check_name()
        kept.require_ours(self.layout)
        make_folder(self.layout.root)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Take turns in a cluster that exists; a lock file must not appear in any other folder."""
        self._require_state()
        with self._lock():
            yield

    def _lock(self) -> AbstractContextManager[int]:
        return locked(self.layout.lock, self._say_waiting)

    def _say_waiting(self, pid: str) -> None:
        self._progress.note(
            f"another command (process {pid}) works on the cluster in {self.layout.root}; waiting for it …"
        )

    def _finish_wipe(self, fresh: bool) -> None:
        state = kept.load(self.layout)
        if state and (fresh or state.phase is Phase.WIPING):
            self._end_all()
            kept.wipe(self.layout, state)
        kept.require_ours(self.layout)

    def _node_kind(self, named: str, fresh: bool) -> NodeKind:
        """Decided before anything is wiped: a fresh cluster is like the old one, unless told otherwise."""
        state = kept.load(self.layout)
        emptied = fresh or (state is not None and state.phase is Phase.WIPING)
        known = state.node if state and not (emptied and named != choices.AUTO) else None
        kind, why = choices.node_kind(named, known, lambda: machine.obstacles(self.layout.root), machine.doubts)
        self._progress.note(f"node: {why}")
        return kind

    def _programs(self, kind: NodeKind) -> Mapping[str, Path]:
        built = builder.programs(cache_root(), self._progress, families.needed(kind))
        return {**built, **catalogue.packaged_programs()}

    def _kept_state(self, kind: NodeKind, new_ports: bool) -> State:
        """The state to start with, saved before anything is started by it."""
        state = kept.load(self.layout)
        if state and not new_ports and choices.complete(state):
            return state
        self._end_all()
        return choices.decide(self.layout, state, kind)

    def _furnish(self, site: Site) -> None:
        """The folders, and the links that put every program on one PATH entry."""
        for folder in self.layout.folders():
            make_folder(folder)
        for name, program in site.programs.items():
            if name not in _PLUGINS:
                _link(self.layout.bin / name, program)
        plugin = "velero-plugin-for-aws"
        _link(self.layout.plugins / plugin, site.programs[plugin])

    def _end_former(self) -> None:
        """Processes of a cluster that was in this folder before somebody removed it by hand."""
        state = self._require_state()
        former = {one.part for one in processes.owned(self.layout) if one.cluster_id != state.id}
        if former:
            self._progress.note(f"ending {', '.join(sorted(former))} of a former cluster in this folder")
            processes.end(self.layout, former, STOP_SECONDS)
            machine.clear(self.layout)

    def _end_all(self) -> None:
        present = {one.part for one in processes.owned(self.layout)}
        in_waves(catalogue.STOP_WAVES, present, self._end_parts)
        machine.clear(self.layout)

    def _end_parts(self, names: tuple[str, ...]) -> None:
        """Containers end before any part does: the API server would wait for those that are its clients."""
        if set(names) & set(catalogue.ALL_NAMES):
            machine.end(self.layout)
        processes.end(self.layout, names, STOP_SECONDS)

    def _stop(self, name: str) -> None:
        if self._is_pod(name):
            workloads.stop(Site(self.layout, self._require_state(), {}), name)
        else:
            processes.end(self.layout, [name], STOP_SECONDS)

    def _start(self, name: str) -> None:
        state = self._require_state()
        site = Site(self.layout, state, self._programs(state.node))
        if self._is_pod(name):
            workloads.install(site)
            return
        part = catalogue.parts(site).get(name)
        if part is None:
            raise LocalClusterError(f"There is no part {name!r}; the parts are {', '.join(self._names())}.")
        running = {one.part for one in processes.owned(self.layout)}
        for need in part.needs:
            if need not in running:
                raise LocalClusterError(f"{name} needs {need}, which does not run; start that first.")
        Starter(site, self._progress).start(part)

    def _require_state(self) -> State:
        state = kept.load(self.layout)
        if state is None:
            raise self._no_cluster()
        return state

    def _no_cluster(self) -> LocalClusterError:
        return LocalClusterError(
            f"There is no local cluster in {self.layout.root}; create one with `vop local up`, "
            "or name its folder with --state-dir."
        )

    def _require_name(self, name: str) -> None:
        known = {*self._names(), *(path.stem for path in (self.layout.root / "logs").glob("*.log"))}
        if name not in known:
            raise LocalClusterError(f"There is no part {name!r}; there are {', '.join(sorted(known))}.")


class _NoPrograms(dict[str, Path]):
    """Stands for programs where only ports and readiness of a part are asked for."""

    def __missing__(self, name: str) -> Path:
        return Path(name)


def _require_extra_name(name: str) -> None:
    if name in catalogue.ALL_NAMES or not _EXTRA_NAME.fullmatch(name):
        raise LocalClusterError(
            f"{name!r} cannot name an extra program: use small letters, digits and dashes, and none of "
            f"{', '.join(catalogue.ALL_NAMES)}."
        )


def _runs(running: Owned, command: tuple[str, ...], env: Mapping[str, str]) -> bool:
    """Whether the running extra was started with this command and these settings."""
    variables = procfs.environment(running.process.pid)
    same_settings = all(variables.get(name) == value for name, value in env.items())
    return procfs.command_line(running.process.pid) == command and same_settings


def _link(link: Path, target: Path) -> None:
    """Point `link` at `target` without a moment in which it is missing."""
    temporary = link.with_name(f".{link.name}.tmp")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link)
