"""docker-compose.yml and the Dockerfile, as far as they can be checked without an engine."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from goflow.config import Config, load_config
from goflow_cli.main import cli

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def compose() -> Any:
    import yaml

    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


@pytest.fixture(scope="module")
def ours(compose: Any) -> dict[str, Any]:
    """The services that are goflow."""
    return {name: each for name, each in compose["services"].items() if "build" in each}


def configured(service: Any) -> Config:
    """The configuration its environment makes, with the secret of .env."""
    environment = {
        name: re.sub(r"\$\{(\w+):\?[^}]*\}", lambda found: dotenv()[found[1]], value)
        for name, value in service["environment"].items()
    }
    return load_config(ROOT, environ=environment)


def dotenv() -> dict[str, str]:
    lines = (ROOT / ".env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_what_is_published_is_published_on_loopback_only(compose: Any) -> None:
    ports = [port for each in compose["services"].values() for port in each.get("ports", ())]
    assert len(ports) == 3
    assert all(str(port).startswith("127.0.0.1:") for port in ports)


def test_every_service_of_ours_is_configured_as_goflow_reads_it(ours: dict[str, Any]) -> None:
    assert set(ours) == {"worker", "serve"}
    for service in ours.values():
        config = configured(service)
        assert config.backend == "redis://redis:6379/0"
        assert config.telemetry.traces == "otlp"
        assert config.payload.blobs == "/payloads"
        assert service["depends_on"] == {"redis": {"condition": "service_healthy"}}
        sources = [volume.split(":")[0] for volume in service["volumes"]]
        assert all((ROOT / source).exists() for source in sources if source.startswith("."))
        assert all(
            volume.endswith(":ro") for volume in service["volumes"] if volume.startswith(".")
        )
    assert configured(ours["serve"]).serve.secret == "for-development-only"


def test_every_command_is_one(ours: dict[str, Any]) -> None:
    for service in ours.values():
        name, *arguments = service["command"]
        command = cli.get_command(None, name)  # type: ignore[arg-type]
        assert command is not None
        command.make_context(name, list(arguments))


def test_two_workers_have_time_to_drain(ours: dict[str, Any]) -> None:
    worker = ours["worker"]
    assert worker["deploy"]["replicas"] == 2
    assert int(worker["stop_grace_period"].removesuffix("s")) > configured(worker).worker.grace


def test_redis_keeps_what_it_is_given(compose: Any) -> None:
    redis = compose["services"]["redis"]
    assert "--appendonly yes" in redis["command"]
    assert "--maxmemory-policy noeviction" in redis["command"]
    assert "--lazyfree-lazy-expire yes" in redis["command"]
    assert "redis:/data" in redis["volumes"]
    used = {v.split(":")[0] for s in compose["services"].values() for v in s.get("volumes", ())}
    assert {name for name in used if not name.startswith(".")} == set(compose["volumes"])


def test_the_image_has_what_it_copies_and_installs() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    for line in lines:
        if line.startswith("COPY "):
            *sources, _ = line.split()[1:]
            assert all((ROOT / source).exists() for source in sources), line
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (install,) = [line for line in lines if "pip install" in line]
    found = re.search(r"\.\[([^\]]+)\]", install)
    assert found is not None
    assert set(found[1].split(",")) == {"otlp", "s3"} <= set(project["optional-dependencies"])
    copied = {word for line in lines if line.startswith("COPY ") for word in line.split()[1:-1]}
    assert {"goflow", "goflow_cli", "backends", "pyproject.toml", "README.md", "LICENSE"} <= copied


def test_no_two_services_build_an_image_of_one_name(compose: Any) -> None:
    """Compose builds them at once, and the second then finds the name taken."""
    named = [s["image"] for s in compose["services"].values() if "build" in s and "image" in s]
    assert len(named) == len(set(named))
