"""Makes container images from files of this machine, as archives that containerd imports; used by `images`.

No registry and no other tool: an image is one gzip layer, a config and a manifest (OCI image specification 1.1).
The same files make the same archive byte for byte, so its digest says whether a node has it already.
"""

import gzip
import hashlib
import io
import json
import os
import tarfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from local_cluster import families
from local_cluster.errors import LocalClusterError
from local_cluster.files import cannot_write, locked, make_folder

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_FORMAT = 1  # raised where this module writes the same files differently, so that no older archive is taken for it
_UNFINISHED = ".image-"
_KEPT_SECONDS = 30 * 86_400


@dataclass(frozen=True)
class File:
    """A file of an image: its bytes, or the file of this machine that they are read from."""

    source: bytes | Path
    mode: int = 0o644


@dataclass(frozen=True)
class Folder:
    """A folder that is not as parents of files are: empty, or with a mode of its own."""

    mode: int = 0o755


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    target: str


Entry = File | Folder | Link


@dataclass(frozen=True)
class Image:
    """What an image is made of; `entries` by their path in the image, without a leading slash."""

    name: str
    entries: Mapping[str, Entry]
    entrypoint: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = "0:0"
    folder: str = "/"
    stop_signal: str = "SIGTERM"


@dataclass(frozen=True)
class Archive:
    """An image as a file, and the digest by which containerd lists it."""

    image: Image
    path: Path
    digest: str


def program(source: Path) -> File:
    """A file that can be executed."""
    return File(source, 0o755)


def tree(source: Path, at: str, mode: int = 0o644) -> dict[str, Entry]:
    """All files below a folder of this machine, links followed, as they shall lie below `at`."""
    found = (path for path in source.rglob("*") if path.is_file())
    return {f"{at}/{path.relative_to(source)}": File(path, mode) for path in found}


def archive(image: Image, cache: Path) -> Archive:
    """The image as an archive in `cache`, made where these files were not made into one before.

    Raises LocalClusterError where a file is missing or a path cannot be.
    """
    _require_sound(image)
    path = cache / f"{_short(image)}-{_key(image)}.tar"
    if not path.exists():
        make_folder(cache)
        with locked(cache / "images.lock", lambda _: None):
            if not path.exists():
                _make(image, path)
    os.utime(path)
    return Archive(image, path, _digest_of(path))


def _short(image: Image) -> str:
    return image.name.rpartition("/")[2].replace(":", "-")


def _require_sound(image: Image) -> None:
    for path, entry in image.entries.items():
        if not _is_plain(path):
            raise LocalClusterError(
                f"The image {image.name} cannot hold {path!r}: a path in an image begins without a slash, "
                "and has no empty parts and no dots for a folder."
            )
        if isinstance(entry, File) and isinstance(entry.source, Path) and not entry.source.is_file():
            raise LocalClusterError(
                f"The image {image.name} wants {entry.source} as /{path}, and there is no such file."
            )
        above = next((one for one in _parents(path) if not isinstance(image.entries.get(one, Folder()), Folder)), None)
        if above:
            raise LocalClusterError(f"The image {image.name} cannot hold /{path}, for /{above} is no folder.")


def _is_plain(path: str) -> bool:
    return bool(path) and all(part not in ("", ".", "..") for part in path.split("/"))


def _parents(path: str) -> Iterator[str]:
    return (str(parent) for parent in PurePosixPath(path).parents if str(parent) != ".")


def _key(image: Image) -> str:
    """Changes with every byte, mode, target and setting."""
    entries = [(path, *_fingerprint(entry)) for path, entry in sorted(image.entries.items())]
    text = json.dumps([_FORMAT, image.name, _run_as(image), entries])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _fingerprint(entry: Entry) -> tuple[str | int, ...]:
    match entry:
        case File():
            return ("file", entry.mode, _sha256(entry.source))
        case Folder():
            return ("folder", entry.mode)
        case Link():
            return ("link", entry.target)


def _sha256(source: bytes | Path) -> str:
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    with source.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _run_as(image: Image) -> dict[str, Any]:
    """The part of the config that says how a container is started."""
    return {
        "architecture": families.target().rpartition("/")[2],
        "os": "linux",
        "config": {
            "Entrypoint": list(image.entrypoint),
            "Env": [f"{name}={value}" for name, value in sorted(image.environment.items())],
            "User": image.user,
            "WorkingDir": image.folder,
            "StopSignal": image.stop_signal,
        },
    }


def _make(image: Image, path: Path) -> None:
    """Write the archive under another name first; what a killed maker left under such a name goes now."""
    for rubbish in (*path.parent.glob(f"{_UNFINISHED}*"), *_outdated(image, path.parent)):
        rubbish.unlink()
    layer, whole = (path.with_name(f"{_UNFINISHED}{kind}-{path.name}") for kind in ("layer", "whole"))
    try:
        with layer.open("w+b") as blob:
            _write_archive(image, blob, whole)
        layer.unlink()
        whole.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error


def _outdated(image: Image, cache: Path) -> list[Path]:
    """Archives of this image that nobody has asked for in a month; another checkout may still want a younger one."""
    oldest = time.time() - _KEPT_SECONDS
    return [one for one in cache.glob(f"{_short(image)}-*.tar") if one.stat().st_mtime < oldest]


def _write_archive(image: Image, layer: IO[bytes], whole: Path) -> None:
    compressed, plain = _write_layer(image, layer)
    config = _json({**_run_as(image), "rootfs": {"type": "layers", "diff_ids": [plain.digest]}})
    layers = [{"mediaType": _LAYER, "digest": compressed.digest, "size": compressed.size}]
    manifest = _json(
        {"schemaVersion": 2, "mediaType": _MANIFEST, "config": _described(_CONFIG, config), "layers": layers}
    )
    named = {**_described(_MANIFEST, manifest), "annotations": {"io.containerd.image.name": image.name}}
    with tarfile.open(whole, "w", format=tarfile.GNU_FORMAT) as tar:
        # First, so that the digest is read without walking through the blobs.
        _add(tar, "index.json", _json({"schemaVersion": 2, "manifests": [named]}))
        _add(tar, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        for content in (manifest, config):
            _add(tar, _blob(_digest(content)), content)
        layer.seek(0)
        tar.addfile(_head(_blob(compressed.digest), 0o644, compressed.size), layer)


def _write_layer(image: Image, sink: IO[bytes]) -> tuple["_Measured", "_Measured"]:
    """Both the compressed layer, which the manifest names, and the tar within, which the config names."""
    compressed = _Measured(sink)
    # Level 1: an image is read once by each cluster, and never sent anywhere.
    with gzip.GzipFile(filename="", fileobj=compressed, mode="wb", compresslevel=1, mtime=0) as squeezed:
        plain = _Measured(squeezed)
        with tarfile.open(fileobj=plain, mode="w|", format=tarfile.GNU_FORMAT) as tar:
            for path, entry in sorted(_with_parents(image.entries).items()):
                _add_entry(tar, path, entry)
    return compressed, plain


def _with_parents(entries: Mapping[str, Entry]) -> dict[str, Entry]:
    return {**{parent: Folder() for path in entries for parent in _parents(path)}, **entries}


def _add_entry(tar: tarfile.TarFile, path: str, entry: Entry) -> None:
    match entry:
        case File(source=Path() as source):
            with source.open("rb") as content:
                tar.addfile(_head(path, entry.mode, os.fstat(content.fileno()).st_size), content)
        case File(source=bytes() as content):
            _add(tar, path, content, entry.mode)
        case Folder():
            head = _head(path, entry.mode, 0)
            head.type = tarfile.DIRTYPE
            tar.addfile(head)
        case Link():
            head = _head(path, 0o777, 0)
            head.type, head.linkname = tarfile.SYMTYPE, entry.target
            tar.addfile(head)


def _add(tar: tarfile.TarFile, path: str, content: bytes, mode: int = 0o644) -> None:
    tar.addfile(_head(path, mode, len(content)), io.BytesIO(content))


def _head(path: str, mode: int, size: int) -> tarfile.TarInfo:
    """Root's, and of no time: neither may depend on when and by whom the image is made."""
    head = tarfile.TarInfo(path)
    head.mode, head.size, head.mtime = mode, size, 0
    return head


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def _described(kind: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": _digest(content), "size": len(content)}


def _digest(content: bytes) -> str:
    return f"sha256:{_sha256(content)}"


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _digest_of(path: Path) -> str:
    with tarfile.open(path, "r|") as tar:
        index = tar.extractfile(next(iter(tar)))
        assert index is not None
        return str(json.load(index)["manifests"][0]["digest"])


class _Measured(io.RawIOBase):
    """Passes on what is written, and knows how much it was and its digest."""

    def __init__(self, sink: Any) -> None:
        self._sink, self._sum, self.size = sink, hashlib.sha256(), 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._sum.update(data)
        self.size += len(data)
        self._sink.write(data)
        return len(data)

    @property
    def digest(self) -> str:
        return f"sha256:{self._sum.hexdigest()}"
