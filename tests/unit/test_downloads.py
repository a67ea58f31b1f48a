"""Downloads come from the storage location alone, and unpack to a bounded size."""

import gzip
import json

import pytest

from activities import artefacts
from activities.artefacts import DownloadRefused, _parse, is_trusted
from operation_engine.domain.velero import StorageLocation

MINIO = StorageLocation(name="l", s3_url="http://minio.velero:9000")
AWS = StorageLocation(name="l")

URLS = [
    ("http://minio.velero:9000/bucket/b.gz?sig=1", MINIO, True),
    ("https://minio.velero:9000/bucket/b.gz", MINIO, False),
    ("http://minio.velero:9001/bucket/b.gz", MINIO, False),
    ("http://minio.velero:9000@evil.example.com/b.gz", MINIO, False),
    ("http://user@minio.velero:9000/b.gz", MINIO, False),
    ("http://bucket.minio.velero:9000/b.gz", MINIO, True),
    ("http://user@bucket.minio.velero:9000/b.gz", MINIO, False),
    ("http://evilminio.velero:9000/b.gz", MINIO, False),
    ("http://evil.example.com/?minio.velero:9000", MINIO, False),
    ("https://bucket.s3.eu-central-1.amazonaws.com/b.gz", MINIO, False),
    ("https://bucket.s3.eu-central-1.amazonaws.com/b.gz", AWS, True),
    ("https://storage.googleapis.com/b.gz", AWS, True),
    ("https://account.blob.core.windows.net/b.gz", None, True),
    ("http://bucket.s3.amazonaws.com/b.gz", AWS, False),
    ("https://evilamazonaws.com/b.gz", AWS, False),
    ("https://bucket.amazonaws.com.evil.example.com/b.gz", AWS, False),
    ("https://evil.example.com#.amazonaws.com", AWS, False),
    ("https://127.0.0.1/b.gz", AWS, False),
    ("https://169.254.169.254/latest", None, False),
    ("file:///etc/passwd", AWS, False),
    ("", AWS, False),
]


@pytest.mark.parametrize(("url", "location", "trusted"), URLS)
def test_a_download_is_fetched_only_from_the_storage_location(
    url: str, location: StorageLocation | None, trusted: bool
) -> None:
    assert is_trusted(url, location) == trusted


@pytest.mark.parametrize("pack", [gzip.compress, bytes], ids=["packed", "plain"])
def test_an_artefact_is_read_packed_or_not(pack: object) -> None:
    assert _parse(pack(json.dumps({"v1/Secret": ["a"]}).encode())) == {"v1/Secret": ["a"]}  # type: ignore[operator]


def test_an_artefact_that_unpacks_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artefacts, "MAX_UNPACKED", 1000)
    assert _parse(gzip.compress(json.dumps("x" * 998).encode())) == "x" * 998
    bomb = gzip.compress(json.dumps("x" * 999).encode())
    assert len(bomb) < 100
    with pytest.raises(DownloadRefused, match="too large"):
        _parse(bomb)


def test_several_packed_parts_count_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artefacts, "MAX_UNPACKED", 1000)
    with pytest.raises(DownloadRefused, match="too large"):
        _parse(gzip.compress(b"[" + b" " * 600) + gzip.compress(b" " * 600 + b"]"))
