"""`make demo`: from nothing to a verified backup on a real cluster, by the commands that a person would type.

Leaves everything running. A second run makes another backup; it takes seconds.
"""

import sys
import time
from functools import partial
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape

from demo import backup, engine, shop
from demo.backup import Backup
from demo.screen import seconds_between, view
from demo.terminal import DemoError, Terminal
from local_cluster.cluster import LocalCluster
from local_cluster.errors import LocalClusterError
from local_cluster.progress import Printed, spoken

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--state-dir", default=".local", show_default=True, help="The folder that keeps the cluster.")
def main(state_dir: str) -> None:
    """Back up a sample application on a real cluster on this machine, and leave all of it running."""
    console = Console(highlight=False, soft_wrap=True)
    cluster = LocalCluster(state_dir, Printed(sys.stdout))
    began = time.monotonic()
    try:
        _Demo(console, cluster, state_dir).run()
    except (DemoError, LocalClusterError) as error:
        console.print(f"\n[bold red]{escape(error.sentence)}[/]\n{escape(error.details)}".rstrip())
        console.print(f"\nLogs of every part: {escape(str(cluster.layout.root))}/logs; the engine's: engine.log")
        sys.exit(1)
    except KeyboardInterrupt:
        console.print("\nInterrupted; what runs goes on running. `make down` stops it.")
        sys.exit(130)
    console.print(f"\nAll of it took {spoken(time.monotonic() - began)} and goes on running; `make down` stops it.")


class _Demo:
    """The demo, top to bottom."""

    def __init__(self, console: Console, cluster: LocalCluster, state_dir: str) -> None:
        self._console, self._cluster, self._state_dir = console, cluster, state_dir

    def run(self) -> None:
        self._title("1. A Kubernetes control plane, Velero, S3 storage and Temporal, as processes on this machine")
        self._cluster.up()
        self._shop = shop.fitting(self._cluster)
        terminal = Terminal(self._cluster.env())
        self._title("2. The operation engine: CRDs, its rights, its Temporal namespace, its process")
        self._install(terminal)
        self._title(f"3. {self._shop.title}, in namespace shop")
        self._deploy(terminal)
        self._title("4. kubectl apply -f deploy/samples/backup.yaml")
        made = self._back_up(terminal)
        self._title("5. What the backup holds")
        self._tell_contents(terminal, made)
        self._tell_next(made)

    def _title(self, text: str) -> None:
        self._console.print(f"\n[bold]{escape(text)}[/]")

    def _install(self, terminal: Terminal) -> None:
        terminal.run("kubectl", "apply", "-f", str(DEPLOY / "crds"), "-f", str(DEPLOY / "rbac.yaml"))
        terminal.run("kubectl", "wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        self._console.print("  CRDs and rights applied")
        self._console.print(f"  {terminal.run(engine.VOP, 'setup').strip()}")
        self._console.print(f"  {'engine':<24} ready           {engine.start(self._cluster, ROOT)}/metrics")

    def _deploy(self, terminal: Terminal) -> None:
        for line in self._shop.deploy(terminal, self._cluster):
            self._console.print(f"  {escape(line)}")

    def _back_up(self, terminal: Terminal) -> Backup:
        name = backup.apply_sample(terminal, DEPLOY / "samples/backup.yaml")
        self._console.print(f"  operation.ops.vworkspace.io/{name} created (each backup is an Operation of its own)\n")
        made = backup.follow(terminal, name, view(self._console), partial(engine.require_alive, self._cluster))
        seconds = seconds_between(made.status["startedAt"], made.status["finishedAt"])
        self._console.print(f"\n  [bold green]{made.status['phase']}[/] in {seconds:.1f} s, and verified.")
        return made

    def _tell_contents(self, terminal: Terminal, made: Backup) -> None:
        kinds = sorted(backup.contents(terminal, made).items())
        self._console.print(f"  {', '.join(f'{count} {kind}' for kind, count in kinds)}")
        outputs = made.status["outputs"]
        self._console.print(
            f"  Velero Backup {made.velero_name} in storage location {outputs['storageLocation']}, "
            f"kept until {outputs['expiresAt']}"
        )
        for line in self._shop.tell_data(terminal, made.velero_name):
            self._console.print(f"  {escape(line)}")

    def _tell_next(self, made: Backup) -> None:
        self._title("The workflow in the Temporal UI (tab User Metadata shows the steps)")
        self._console.print(f"  {made.status['workflow']['url']}")
        self._title("Try next, in this folder")
        hint = "" if self._state_dir == ".local" else f" --state-dir {self._state_dir}"
        for command, why in (
            (f'eval "$(.venv/bin/vop local env{hint})"', "this cluster's kubectl, velero and temporal in this shell"),
            (f"kubectl describe operation {made.name} -n {shop.NAMESPACE}", "all that the engine says about it"),
            *self._shop.hints(made.velero_name),
        ):
            self._console.print(f"  [cyan]{escape(command)}[/]\n      [dim]{escape(why)}[/]")


if __name__ == "__main__":
    main()
