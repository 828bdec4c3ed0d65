"""Places for large payloads: a folder, and a bucket of a private S3-compatible server."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.redis.server import RedisServer, free_port

BUCKET = "payloads"


@pytest.fixture(scope="session")
def bucket_server() -> Iterator[str]:
    """The URL of an S3-compatible server in a thread, with one bucket."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", free_port(), verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    session = boto3.session.Session("test", "test", region_name="us-east-1")
    client = session.client("s3", endpoint_url=url)
    client.create_bucket(Bucket=BUCKET)
    client.close()
    yield url
    server.stop()


@pytest.fixture(params=["folder", "bucket"])
def location(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """What `payload.blobs` says."""
    if request.param == "folder":
        return str(tmp_path / "blobs")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    url = request.getfixturevalue("bucket_server")
    return f"s3://{BUCKET}/{tmp_path.name}?endpoint={url}&region=us-east-1"


@pytest.fixture(scope="session")
def blob_redis() -> Iterator[RedisServer]:
    """A server for this folder's tests."""
    with RedisServer() as server:
        yield server


@pytest.fixture(params=["local", "redis"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store."""
    if request.param == "local":
        return f"file://{tmp_path}/store"
    server: RedisServer = request.getfixturevalue("blob_redis")
    server.client.flushall()
    return server.url
