"""What `make demo` and `make demo-retry` do, top to bottom, and how they tell it."""

import shlex
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from demo import copies, engine, operations, shop
from demo.copies import COPY, RESTORE_SMALL, SMALL
from demo.operations import Seen
from demo.screen import seconds_between, view
from demo.terminal import DemoError, Terminal
from local_cluster.cluster import LocalCluster

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"


class Narrator:
    """What both tours share: the cluster, a terminal on it, and how a thing is said."""

    def __init__(self, console: Console, cluster: LocalCluster, state_dir: str) -> None:
        self._console, self._cluster, self._state_dir = console, cluster, state_dir

    def _start(self) -> None:
        """The cluster and the engine in it."""
        self.title("1. A Kubernetes control plane, Velero, S3 storage and Temporal, as processes on this machine")
        self._cluster.up()
        self._shop = shop.fitting(self._cluster)
        self._terminal = Terminal(self._cluster.env())
        self.title("2. The operation engine: CRDs, its rights, its Temporal namespace, its process")
        self._terminal.run("kubectl", "apply", "-f", str(DEPLOY / "crds"), "-f", str(DEPLOY / "rbac.yaml"))
        self._terminal.run("kubectl", "wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        self.say("CRDs and rights applied")
        self.say(self._terminal.run(engine.VOP, "setup").strip())
        self.say(f"{'engine':<24} ready           {engine.start(self._cluster, ROOT)}/metrics")

    def title(self, text: str) -> None:
        self._console.print(f"\n[bold]{escape(text)}[/]")

    def say(self, text: str = "") -> None:
        self._console.print(f"  {escape(text)}" if text else "")

    def command(self, command: str, why: str) -> None:
        self._console.print(f"  [cyan]{escape(command)}[/]\n      [dim]{escape(why)}[/]")

    def _follow(self, namespace: str, name: str, attempt: int = 0) -> Seen:
        still_sane = partial(engine.require_alive, self._cluster)
        return operations.follow(self._terminal, namespace, name, view(self._console), still_sane, attempt)

    def _tell_success(self, seen: Seen) -> None:
        status = seen.succeeded().status
        seconds = seconds_between(_began(status), status["finishedAt"])
        self._console.print(f"\n  [bold green]{status['phase']}[/] in {seconds:.1f} s, and verified.")

    def _compare(self, what: str, held: str, namespace: str) -> None:
        """Raises DemoError where the namespace does not hold the same."""
        now = self._shop.holds(self._terminal, namespace)
        for name, holds in ((what, held), (namespace, now)):
            self.say(f"{name:<22} {holds}")
        if now != held:
            raise DemoError(f"{namespace} does not hold the same.")
        self._console.print("  [bold green]The same.[/]")


def _began(status: Mapping[str, Any]) -> str:
    """Of the attempt that ended last: what waited for a person in between is not the engine's time."""
    attempts = status.get("attempts") or [status]
    return str(attempts[-1]["startedAt"] if len(attempts) > 1 else status["startedAt"])


class Demo(Narrator):
    """A backup, the loss of what was backed up, its restore; and a restore that fails and waits for its reader."""

    def run(self) -> None:
        self._start()
        self.title(f"3. {self._shop.title}, in namespace {shop.NAMESPACE}")
        before = self._open_shop()
        self.title("4. A backup: kubectl apply -f deploy/samples/backup.yaml")
        backup = self._back_up()
        self.title(f"5. The shop is lost: {shlex.join(copies.LOSE)}")
        self._lose_shop()
        self.title("6. It comes back: kubectl apply -f deploy/samples/restore-copy.yaml")
        self._restore(backup, before)
        self.title("7. A restore that fails: kubectl apply -f demo/manifests/shop-small.yaml")
        failed = self._fail(backup)
        self.title("Your turn: mend the cause, then retry")
        self._tell_how_to_retry(failed)

    def _open_shop(self) -> str:
        if copies.forget(self._terminal):
            self.say("the copies that a run before left are removed")
        shop.await_gone_if_going(self._terminal)
        for line in self._shop.deploy(self._terminal, self._cluster):
            self.say(line)
        holds = self._shop.holds(self._terminal, shop.NAMESPACE)
        self.say(holds)
        self.say(f"it agrees to be copied: {shlex.join(copies.CONSENT)}")
        self._terminal.run(*copies.CONSENT)
        return holds

    def _back_up(self) -> Seen:
        namespace, name = operations.apply(self._terminal, DEPLOY / "samples/backup.yaml")
        self.say(f"operation.ops.vworkspace.io/{name} created\n")
        made = self._follow(namespace, name)
        self._tell_success(made)
        outputs = made.status["outputs"]
        velero_name = outputs["backupName"]
        kinds = sorted(operations.contents(self._terminal, velero_name).items())
        self.say(f"Velero Backup {velero_name}, kept until {outputs['expiresAt']}, holds")
        self.say(f"  {', '.join(f'{count} {kind}' for kind, count in kinds)}")
        for line in self._shop.tell_data(self._terminal, velero_name):
            self.say(f"  {line}")
        return made

    def _lose_shop(self) -> None:
        self.say(self._terminal.run(*copies.LOSE).strip())
        copies.await_forgotten(self._terminal)
        self.say("What it agreed to stands on its backup, and still holds.")

    def _restore(self, backup: Seen, before: str) -> None:
        namespace, name = operations.apply(self._terminal, copies.COPY_MANIFEST, backupName=backup.name)
        self.say(f"operation.ops.vworkspace.io/{name} created in the fresh namespace {namespace}\n")
        self._tell_success(self._follow(namespace, name))
        self._compare("shop, before its loss", before, COPY)

    def _fail(self, backup: Seen) -> Seen:
        namespace, name = operations.apply(self._terminal, copies.SMALL_MANIFEST, backupName=backup.name)
        self.say(f"The quota of the namespace {namespace} leaves no room for pods, and the restore says so:\n")
        failed = self._follow(namespace, name)
        if not failed.waits:
            raise DemoError(f"{name} should wait for a decision.", failed.status.get("message", ""))
        self._console.print("\n  [bold yellow]It waits for a person:[/] nothing is lost, and nothing is tried blindly.")
        return failed

    def _tell_how_to_retry(self, failed: Seen) -> None:
        hint = "" if self._state_dir == ".local" else f" --state-dir {shlex.quote(self._state_dir)}"
        self.command(f'eval "$(.venv/bin/vop local env{hint})"', "this cluster's kubectl in this shell")
        self.command(shlex.join(copies.MEND), "makes room: the cause is mended")
        attempt = failed.status["attempt"]
        self._console.print("\n  Then one of these. [bold]In the Temporal UI[/], on the workflow's page:")
        self.say(failed.url)
        self.say("  More Actions > Send an Update > Name: retry > Data, as below > Submit")
        self.say(f'  {{"attempt": {attempt}}}')
        self.say("  The tab User Metadata says the same, and shows every step; R refreshes it.")
        self._console.print("  [bold]Or by a command:[/]")
        annotation = f"ops.vworkspace.io/retry={attempt} --overwrite"
        self.command(f"kubectl annotate operation {failed.name} -n {SMALL} {annotation}", "with kubectl")
        self.command(f".venv/bin/vop retry {SMALL}/{failed.name}", "the same, and it says what came of it")
        self.command(f"make demo-retry{_variable(self._state_dir)}", "mends, retries, and shows what came of it")
        self.say()
        self.command(f"kubectl describe operation {failed.name} -n {SMALL}", "all that the engine says about it")


def _variable(state_dir: str) -> str:
    return "" if state_dir == ".local" else f" VOP_LOCAL_STATE_DIR={shlex.quote(state_dir)}"


class SecondTry(Narrator):
    """What the demo left waiting: its cause is mended, and it is retried; also where its reader has done some of it."""

    def run(self) -> None:
        self._start()
        if RESTORE_SMALL not in operations.names(self._terminal, SMALL):
            raise DemoError("There is no failed restore here to retry; `make demo` makes one.")
        waiting = operations.look(self._terminal, SMALL, RESTORE_SMALL)
        self.title(f"3. The cause is mended: {shlex.join(copies.MEND)}")
        self.say(self._terminal.run(*copies.MEND, "--ignore-not-found").strip() or "It was mended already.")
        self.title(f"4. The retry: vop retry {SMALL}/{RESTORE_SMALL}")
        self.say(copies.retry(self._terminal) if waiting.waits else "It was retried already.")
        self.say()
        attempt = waiting.status["attempt"] + waiting.waits
        retried = self._follow(SMALL, RESTORE_SMALL, attempt)
        self._tell_success(retried)
        self.title("What the Operation keeps of both attempts")
        for one in retried.status["attempts"]:
            self.say(f"{one['number']}. {one['cause']:<10} {one['outcome']:<10} {one['reason']}")
        self._compare(COPY, self._shop.holds(self._terminal, COPY), SMALL)
        self.title("Its workflow in the Temporal UI")
        self.say(retried.url)
