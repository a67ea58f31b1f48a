"""What the bucket holds of a Velero Backup, read past Velero."""

import gzip
import io
import json
from collections.abc import Mapping
from urllib.parse import urlsplit

from minio import Minio


class Bucket:
    """The S3 bucket of a cluster."""

    def __init__(self, env: Mapping[str, str]) -> None:
        endpoint = urlsplit(env["S3_ENDPOINT"])
        self._name = env["S3_BUCKET"]
        self._client = Minio(
            endpoint.netloc,
            access_key=env["AWS_ACCESS_KEY_ID"],
            secret_key=env["AWS_SECRET_ACCESS_KEY"],
            secure=endpoint.scheme == "https",
            region=env["AWS_REGION"],
        )

    def contents(self, backup: str) -> dict[str, list[str]]:
        """`group/version/Kind` to `namespace/name`."""
        return self._read(f"backups/{backup}/{backup}-resource-list.json.gz")

    def restored(self, restore: str) -> dict[str, list[str]]:
        """`group/version/Kind` to `namespace/name(action)`."""
        return self._read(f"restores/{restore}/restore-{restore}-resource-list.json.gz")

    def _read(self, path: str) -> dict[str, list[str]]:
        answer = self._client.get_object(self._name, path)
        try:
            found: dict[str, list[str]] = json.loads(gzip.decompress(answer.read()))
        finally:
            answer.close()
            answer.release_conn()
        return found

    def names(self, prefix: str) -> list[str]:
        """Keys of everything below a prefix, which need not end at a slash."""
        return [str(found.object_name) for found in self._client.list_objects(self._name, prefix=prefix)]

    def remove(self, backup: str, artefact: str) -> None:
        """Lose one artefact, such as `resource-list.json.gz`."""
        self._client.remove_object(self._name, f"backups/{backup}/{backup}-{artefact}")

    def put(self, backup: str, artefact: str, content: object) -> None:
        """Write one artefact as Velero would, such as `volumeinfo.json.gz`."""
        self._put(f"backups/{backup}/{backup}-{artefact}", content)

    def put_restore(self, restore: str, artefact: str, content: object) -> None:
        """Write one artefact of a restore."""
        self._put(f"restores/{restore}/restore-{restore}-{artefact}", content)

    def _put(self, path: str, content: object) -> None:
        packed = gzip.compress(json.dumps(content).encode())
        self._client.put_object(self._name, path, io.BytesIO(packed), len(packed))
