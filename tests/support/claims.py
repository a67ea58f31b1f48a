"""Approval claims as vWorkspace Server issues them."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from support.values import NOW

SECRET = b"a secret that Odoo and the cluster share"
CLAIM = {
    "at": int(NOW.timestamp()),
    "by": "ann@example.com",
    "exp": int((NOW + timedelta(days=3650)).timestamp()),
    "op": "restore",
    "rid": "17",
    "v": 1,
}


def claim(operation: str, secret: bytes = SECRET, **parts: Any) -> str:
    """A claim that approves the Operation of that name, its other keys as given."""
    return signed({**CLAIM, "op": operation, **parts}, secret)


def signed(content: Mapping[str, Any] | bytes, secret: bytes = SECRET) -> str:
    body = body_of(content)
    return f"vws1.{body}.{hmac.new(secret, body.encode(), hashlib.sha256).hexdigest()}"


def body_of(content: Mapping[str, Any] | bytes) -> str:
    raw = content if isinstance(content, bytes) else json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
