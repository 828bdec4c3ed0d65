"""SHA-1 and SHA-256 of what is short, without OpenSSL.

`hashlib` loads libcrypto with them, which is 0.8 MB of each worker and 2.5 ms of each start, to be faster where much is
hashed: what is large (payloads, blobs) goes by it. These are the modules that it falls back on itself, by the names they
have in Python 3.11, and from 3.12 on; a Python that was built without them has OpenSSL's.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import sha1, sha256
else:
    try:
        sha1 = import_module("_sha1").sha1
        try:
            sha256 = import_module("_sha256").sha256
        except ImportError:
            sha256 = import_module("_sha2").sha256
    except ImportError:
        from hashlib import sha1, sha256

__all__ = ["sha1", "sha256"]
