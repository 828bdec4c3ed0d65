"""The signature of a request, checked: goflow/signature.py says what is signed and how."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from typing import Final

from goflow.server.errors import HttpError
from goflow.signature import NONCE, SIGNATURE, TIMESTAMP, signature

#: seconds that a timestamp may be off
TOLERANCE: Final = 300
#: how long a nonce is remembered: from the earliest to the latest moment it could be accepted
MEMORY: Final = 2 * TOLERANCE + 10

_NONCE: Final = re.compile(r"[A-Za-z0-9._~+/=-]{8,128}")
_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}")
_SIGNATURE: Final = re.compile(r"v1=[0-9a-f]{64}")


class Signed:
    """The signature headers of a request, checked as far as that goes without its body."""

    def __init__(self, headers: Mapping[str, str], now: float) -> None:
        """Raises HttpError 401 for what is malformed or out of time. Header names in any case."""
        self.timestamp = headers.get(TIMESTAMP, "")
        self.nonce = headers.get(NONCE, "")
        self._given = headers.get(SIGNATURE, "")
        if not _SIGNATURE.fullmatch(self._given):
            raise refused("X-Goflow-Signature: expected v1= and 64 hex digits in lower case")
        if not _NONCE.fullmatch(self.nonce):
            raise refused("X-Goflow-Nonce: expected 8 to 128 letters, digits and ._~+/=-")
        if not _TIMESTAMP.fullmatch(self.timestamp):
            raise refused("X-Goflow-Timestamp: expected seconds since the epoch")
        if abs(int(self.timestamp) - now) > TOLERANCE:
            raise refused(f"X-Goflow-Timestamp is more than {TOLERANCE} s off; check the clock")

    def check(self, secret: str, method: str, path: str, query: str, body: bytes) -> None:
        """Raises HttpError 401 where the signature is not that of the request."""
        own = signature(secret, self.timestamp, self.nonce, method, path, query, body)
        if not hmac.compare_digest(own, self._given):
            raise refused(
                "the signature does not fit: expected HMAC-SHA-256 over timestamp, nonce, METHOD, raw"
                " path, raw query and hex SHA-256 of the body, joined by newlines"
            )


def refused(message: str, code: str = "bad_signature") -> HttpError:
    """401, with the way in."""
    return HttpError(401, code, message, {"WWW-Authenticate": 'Bearer realm="goflow"'})
