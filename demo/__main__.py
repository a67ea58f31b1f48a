"""`make demo`: a backup, its restore, and a restore that fails, by the commands that a person would type.

Leaves everything running. A second run begins again with a shop that is new.
"""

import sys
import time
from collections.abc import Callable

import click
from rich.console import Console
from rich.markup import escape

from demo.terminal import DemoError
from demo.tour import Demo, SecondTry
from local_cluster.cluster import LocalCluster
from local_cluster.errors import LocalClusterError
from local_cluster.progress import Printed, spoken


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--state-dir",
    default=".local",
    show_default=True,
    envvar="VOP_LOCAL_STATE_DIR",
    help="The folder that keeps the cluster.",
)
@click.option("--retry", is_flag=True, help="Mend and retry the restore that the demo left waiting.")
def main(state_dir: str, retry: bool) -> None:
    """Back up and restore a sample application on a real cluster on this machine, and leave all of it running."""
    console = Console(highlight=False, soft_wrap=True)
    cluster = LocalCluster(state_dir, Printed(sys.stdout))
    tour = SecondTry if retry else Demo
    began = time.monotonic()
    _spoken(console, cluster, tour(console, cluster, state_dir).run)
    console.print(f"\nAll of it took {spoken(time.monotonic() - began)} and goes on running; `make down` stops it.")


def _spoken(console: Console, cluster: LocalCluster, run: Callable[[], None]) -> None:
    """Run it, with a sentence instead of a traceback where it fails."""
    try:
        run()
    except (DemoError, LocalClusterError) as error:
        console.print(f"\n[bold red]{escape(error.sentence)}[/]\n{escape(error.details)}".rstrip())
        console.print(f"\nLogs of every part: {escape(str(cluster.layout.root))}/logs; the engine's: engine.log")
        sys.exit(1)
    except KeyboardInterrupt:
        console.print("\nInterrupted; what runs goes on running. `make down` stops it.")
        sys.exit(130)


if __name__ == "__main__":
    main()
