"""An image is what was asked for, the same each time, whoever makes it at once and is killed meanwhile."""

import gzip
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from local_cluster import oci
from local_cluster.errors import LocalClusterError
from local_cluster.oci import Archive, File, Folder, Image, Link

NAME = "vop.local/tool:1"
CONTENT = b"\x7fELF" * 1000


@pytest.fixture
def image(tmp_path: Path) -> Image:
    tool = tmp_path / "tool"
    tool.write_bytes(CONTENT)
    entries = {"bin/tool": oci.program(tool), "bin/alias": Link("tool"), "etc/motd": File(b"hello\n")}
    return Image(NAME, {**entries, "tmp": Folder(0o1777)}, entrypoint=("/bin/tool",), environment={"A": "1"})


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def archives_in(cache: Path) -> list[str]:
    return [path.name for path in cache.iterdir() if path.name != "images.lock"]


def blobs(archive: Archive) -> dict[str, bytes]:
    with tarfile.open(archive.path) as tar:
        return {one.name: (tar.extractfile(one) or io.BytesIO()).read() for one in tar}


def read(found: dict[str, bytes], described: dict[str, Any]) -> bytes:
    """A blob, after its size and digest were checked."""
    content = found[f"blobs/{described['digest'].replace(':', '/')}"]
    assert len(content) == described["size"]
    assert f"sha256:{hashlib.sha256(content).hexdigest()}" == described["digest"]
    return content


def test_an_archive_is_an_oci_layout_that_holds_what_was_asked_for(image: Image, cache: Path) -> None:
    archive = oci.archive(image, cache)
    found = blobs(archive)
    assert json.loads(found["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    [listed] = json.loads(found["index.json"])["manifests"]
    assert listed["annotations"] == {"io.containerd.image.name": NAME}
    assert listed["digest"] == archive.digest

    manifest = json.loads(read(found, listed))
    config = json.loads(read(found, manifest["config"]))
    plain = gzip.decompress(read(found, manifest["layers"][0]))
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(plain).hexdigest()}"]
    assert config["config"]["Entrypoint"] == ["/bin/tool"]
    assert config["config"]["Env"] == ["A=1"]
    with tarfile.open(fileobj=io.BytesIO(plain)) as layer:
        assert [(one.name, oct(one.mode), one.linkname) for one in layer] == [
            ("bin", "0o755", ""),
            ("bin/alias", "0o777", "tool"),
            ("bin/tool", "0o755", ""),
            ("etc", "0o755", ""),
            ("etc/motd", "0o644", ""),
            ("tmp", "0o1777", ""),
        ]
        tool = layer.extractfile("bin/tool")
        assert tool is not None
        assert tool.read() == CONTENT


def test_the_same_files_make_the_same_archive_byte_for_byte(image: Image, tmp_path: Path) -> None:
    one, other = (oci.archive(image, tmp_path / cache) for cache in ("one", "other"))
    assert one.path.read_bytes() == other.path.read_bytes()
    assert one.path.name == other.path.name


def with_entry(image: Image, path: str, entry: oci.Entry) -> Image:
    return replace(image, entries={**image.entries, path: entry})


CHANGES: dict[str, Callable[[Image], Image]] = {
    "a byte": lambda image: with_entry(image, "etc/motd", File(b"Hello\n")),
    "a mode": lambda image: with_entry(image, "etc/motd", File(b"hello\n", 0o600)),
    "a link's target": lambda image: with_entry(image, "bin/alias", Link("/bin/tool")),
    "a folder's mode": lambda image: with_entry(image, "tmp", Folder()),
    "one file more": lambda image: with_entry(image, "etc/issue", File(b"")),
    "the entrypoint": lambda image: replace(image, entrypoint=("/bin/alias",)),
    "a variable": lambda image: replace(image, environment={"A": "2"}),
    "the user": lambda image: replace(image, user="1:1"),
    "the folder": lambda image: replace(image, folder="/tmp"),
    "the stop signal": lambda image: replace(image, stop_signal="SIGINT"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_each_change_makes_another_image(change: Callable[[Image], Image], image: Image, cache: Path) -> None:
    before, after = oci.archive(image, cache), oci.archive(change(image), cache)
    assert before.digest != after.digest
    assert before.path != after.path


def test_a_file_of_the_machine_that_changed_makes_another_image(image: Image, cache: Path, tmp_path: Path) -> None:
    before = oci.archive(image, cache)
    (tmp_path / "tool").write_bytes(b"newer")
    assert oci.archive(image, cache).digest != before.digest


def test_the_same_files_under_another_name_are_kept_apart(image: Image, cache: Path) -> None:
    one, other = oci.archive(image, cache), oci.archive(replace(image, name="other.local/tool:1"), cache)
    assert one.path != other.path


def test_an_image_is_made_once(image: Image, cache: Path) -> None:
    first = oci.archive(image, cache).path.stat().st_ino
    again = oci.archive(image, cache).path.stat().st_ino
    assert first == again


def test_a_tree_follows_links_and_keeps_its_folders(tmp_path: Path) -> None:
    zone = tmp_path / "share/zone"
    zone.mkdir(parents=True)
    (zone / "UTC").write_text("utc")
    (zone / "GMT").symlink_to("UTC")
    found = oci.tree(tmp_path / "share", "usr/share")
    assert found == {"usr/share/zone/UTC": File(zone / "UTC"), "usr/share/zone/GMT": File(zone / "GMT")}


def test_a_missing_file_is_named_with_the_place_it_was_meant_for(tmp_path: Path, cache: Path) -> None:
    image = Image(NAME, {"bin/tool": oci.program(tmp_path / "absent")})
    with pytest.raises(LocalClusterError, match=rf"{NAME} wants {tmp_path}/absent as /bin/tool, and there is no such"):
        oci.archive(image, cache)
    assert not cache.exists()


@pytest.mark.parametrize("path", ["/bin/tool", "bin/../tool", "./tool", "bin//tool", "bin/", ""])
def test_a_path_that_could_lead_elsewhere_is_refused(path: str, cache: Path) -> None:
    with pytest.raises(LocalClusterError, match="a path in an image begins without a slash"):
        oci.archive(Image(NAME, {path: File(b"")}), cache)


def test_a_file_cannot_lie_in_a_file(cache: Path) -> None:
    with pytest.raises(LocalClusterError, match="cannot hold /bin/tool/x, for /bin/tool is no folder"):
        oci.archive(Image(NAME, {"bin/tool": Link("y"), "bin/tool/x": File(b"")}), cache)


def test_makers_at_once_make_one_archive_and_leave_nothing_else(image: Image, cache: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: oci.archive(image, cache), range(8)))
    assert archives_in(cache) == [made[0].path.name]
    assert {one.digest for one in made} == {made[0].digest}


KILLED_MAKER = """
import sys
from pathlib import Path
from local_cluster import oci
finished = oci._write_archive
def write_and_hang(*arguments):
    finished(*arguments)
    print("written", flush=True)
    sys.stdin.read()
oci._write_archive = write_and_hang
oci.archive(oci.Image("vop.local/tool:1", {"a": oci.File(b"a")}), Path(sys.argv[1]))
"""


def test_a_killed_maker_leaves_no_archive_and_the_next_one_tidies_up(cache: Path) -> None:
    command = [sys.executable, "-c", KILLED_MAKER, str(cache)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as maker:
        assert maker.stdout is not None
        assert maker.stdout.readline() == "written\n"
        maker.send_signal(signal.SIGKILL)
    left = archives_in(cache)
    assert left
    assert all(name.startswith(".") for name in left)

    made = oci.archive(Image(NAME, {"a": File(b"a")}), cache)
    assert archives_in(cache) == [made.path.name]


def test_a_full_disk_is_told_and_leaves_no_half_an_archive(small_disk: Callable[[str], Path]) -> None:
    disk = small_disk("64k")
    with pytest.raises(LocalClusterError, match="is full; free some space there"):
        oci.archive(Image(NAME, {"noise": File(Random(1).randbytes(1_000_000))}), disk)
    assert all(name.startswith(".") for name in archives_in(disk))


def test_archives_that_nobody_has_asked_for_in_a_month_go_with_the_next_one(cache: Path) -> None:
    old, young = (oci.archive(Image(NAME, {"a": File(content)}), cache).path for content in (b"old", b"young"))
    other = oci.archive(Image("vop.local/other:1", {"a": File(b"old")}), cache).path
    for path in (old, other):
        os.utime(path, (0, 0))
    made = oci.archive(Image(NAME, {"a": File(b"new")}), cache).path
    assert sorted(archives_in(cache)) == sorted(path.name for path in (young, other, made))
    oci.archive(Image("vop.local/other:1", {"a": File(b"old")}), cache)
    assert other.stat().st_mtime > 0
