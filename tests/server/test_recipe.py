"""The recipe in docs/http.md, as it stands there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.server.conftest import registered
from tests.server.house import House

DOCS = Path(__file__).parents[2] / "docs" / "http.md"


def test_the_recipe_for_signing_with_openssl_works(tmp_path: Path) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", DOCS.read_text(), re.DOTALL)
    recipe = next(block for block in blocks if "openssl" in block)
    house = House(tmp_path / "house").setting("GOFLOW_SERVE_SECRET", "from the recipe")
    with house, house.client(authorization="Bearer from the recipe") as http:
        registered(http)
        script = recipe.replace("http://127.0.0.1:8080", house.url).replace("myflow", "echo")
        done = subprocess.run(
            ["bash", "-c", script],
            env={"GOFLOW_SERVE_SECRET": "from the recipe", "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    assert done.stdout == "hallo"
