"""Signed requests: a secret proves who asks a server without travelling.

    X-Goflow-Timestamp: seconds since the epoch
    X-Goflow-Nonce: 8 to 128 characters, never the same twice
    X-Goflow-Signature: v1=<hex HMAC-SHA-256>

The HMAC is over timestamp, nonce, METHOD, raw path, raw query and the hex SHA-256 of the body, joined by
newlines. docs/http.md has the same with curl and openssl; tests/server/signatures.json holds requests that
openssl signed.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import time
from typing import Final

TIMESTAMP: Final = "X-Goflow-Timestamp"
NONCE: Final = "X-Goflow-Nonce"
SIGNATURE: Final = "X-Goflow-Signature"


def signature(
    secret: str, timestamp: str, nonce: str, method: str, path: str, query: str, body: bytes
) -> str:
    """`v1=...` for a request. `path` and `query` are raw, as they stand in the request line."""
    digest = hashlib.sha256(body).hexdigest()
    text = "\n".join((timestamp, nonce, method.upper(), path, query, digest))
    mac = hmac.new(secret.encode(), text.encode("latin-1"), hashlib.sha256)
    return f"v1={mac.hexdigest()}"


def sign(secret: str, method: str, path: str, query: str = "", body: bytes = b"") -> dict[str, str]:
    """The three headers for a request that is sent now. `path` and `query` as they will be sent, escaped.

    >>> sorted(sign("secret", "GET", "/flows"))
    ['X-Goflow-Nonce', 'X-Goflow-Signature', 'X-Goflow-Timestamp']
    """
    timestamp, nonce = str(int(time.time())), os.urandom(16).hex()
    return {
        TIMESTAMP: timestamp,
        NONCE: nonce,
        SIGNATURE: signature(secret, timestamp, nonce, method, path, query, body),
    }
