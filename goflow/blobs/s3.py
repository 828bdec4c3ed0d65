"""Blobs as objects of an S3-compatible store: `BUCKET/PREFIX/STORE/RUN/SHA256-NONCE`.

The URL is `s3://BUCKET[/PREFIX][?endpoint=URL&region=NAME]`. Credentials come from where every AWS tool finds
them (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, the machine's role), never from the URL. boto3
sends large objects in parts and tries again by itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby, islice
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from goflow.blobs.place import Blob
from goflow.errors import BlobsAway, ConfigError, nearest

#: objects removed by one call: S3's own limit
_MANY: Final = 1000
_OPTIONS: Final = ("endpoint", "region")
#: seconds to wait for a connection and for an answer; attempts at a call
_CONNECT, _ANSWER, _ATTEMPTS = 5, 60, 4


class BucketPlace:
    """A bucket, or what lies below a prefix in one."""

    def __init__(self, location: str, identity: str) -> None:
        parts = urlsplit(location)
        self._bucket = parts.netloc
        self._root = "/".join(part for part in (parts.path.strip("/"), identity) if part)
        options = dict(parse_qsl(parts.query))
        for name in options:
            if name not in _OPTIONS:
                raise ConfigError(
                    f"payload.blobs has an unknown option {name!r}{nearest(name, _OPTIONS)}"
                )
        if "@" in self._bucket:
            raise ConfigError(
                "payload.blobs: credentials do not belong into the URL; set AWS_ACCESS_KEY_ID and"
                " AWS_SECRET_ACCESS_KEY, or a profile"
            )
        self._endpoint, self._region = options.get("endpoint"), options.get("region")
        self.name = f"s3://{self._bucket}{parts.path}"
        self._made: tuple[int, Any] = (0, None)
        _boto3()

    def check(self) -> None:
        """Write something and remove it."""
        key = f"{self._root}/~check"
        with self._told():
            self._client.put_object(Bucket=self._bucket, Key=key, Body=b"")
            self._client.delete_object(Bucket=self._bucket, Key=key)

    def put(self, run_id: str, name: str, data: bytes) -> None:
        """Keep these bytes."""
        from io import BytesIO

        key = f"{self._root}/{run_id}/{name}"
        with self._told():
            self._client.upload_fileobj(BytesIO(data), self._bucket, key, Config=_in_this_thread())

    def get(self, run_id: str, name: str, most: int | None = None) -> bytes | None:
        """The bytes, or the first of them; None where there are none."""
        key = f"{self._root}/{run_id}/{name}"
        part = {} if most is None else {"Range": f"bytes=0-{most - 1}"}
        with self._told():
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=key, **part)
            except self._client.exceptions.NoSuchKey:
                return None
            data: bytes = answer["Body"].read(most)  # a store may not know of ranges
            return data

    def of_run(self, run_id: str) -> list[Blob]:
        """All of one run."""
        return list(self._below(f"{self._root}/{run_id}/"))

    def all(self) -> Iterator[list[Blob]]:
        """All there are, a run at a time."""
        for _, blobs in groupby(self._below(f"{self._root}/"), key=lambda blob: blob.run_id):
            yield list(blobs)

    def remove(self, blobs: Iterable[Blob]) -> None:
        """Remove them."""
        keys = iter([{"Key": f"{self._root}/{blob.run_id}/{blob.name}"} for blob in blobs])
        while part := list(islice(keys, _MANY)):
            with self._told():
                self._client.delete_objects(
                    Bucket=self._bucket, Delete={"Objects": part, "Quiet": True}
                )

    def _below(self, prefix: str) -> Iterator[Blob]:
        with self._told():
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=prefix):
                for each in page.get("Contents", ()):
                    run_id, _, name = each["Key"][len(self._root) + 1 :].partition("/")
                    if name:
                        yield Blob(run_id, name, each["Size"], each["LastModified"].timestamp())

    @property
    def _client(self) -> Any:
        """One for each process: a connection must not be shared by a fork."""
        pid, client = self._made
        if client is None or pid != os.getpid():
            from botocore.config import Config

            config = Config(
                connect_timeout=_CONNECT,
                read_timeout=_ANSWER,
                retries={"max_attempts": _ATTEMPTS, "mode": "standard"},
            )
            session = _boto3().session.Session()
            with _unsaid():
                client = session.client(
                    "s3",
                    endpoint_url=self._endpoint,
                    region_name=self._region,
                    config=config,
                )
            self._made = (os.getpid(), client)
        return client

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_made": (0, None)}

    @contextmanager
    def _told(self) -> Iterator[None]:
        from boto3.exceptions import S3UploadFailedError
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (BotoCoreError, ClientError, S3UploadFailedError) as error:
            raise BlobsAway(f"payload.blobs: {self.name}: {error}") from None


@contextmanager
def _unsaid() -> Iterator[None]:
    """boto logs where it found credentials and endpoint: in a child that would be what a node said."""
    import logging

    boto = logging.getLogger("botocore")
    level = boto.level
    boto.setLevel(logging.WARNING)
    try:
        yield
    finally:
        boto.setLevel(level)


def _in_this_thread() -> Any:
    from boto3.s3.transfer import TransferConfig

    return TransferConfig(use_threads=False)


def _boto3() -> Any:
    try:
        import boto3
    except ImportError:
        raise ConfigError(
            "payload.blobs is an s3:// URL, which needs boto3: pip install 'goflow-cli[s3]'"
        ) from None
    return boto3
