"""How soon the dashboard can be used: `python -m benchmarks.dashboard`. Needs chromium and Playwright.

A run of a flow of 1,000 nodes, a run of a foreach over 10,000 items, and a list of 10,000 runs are loaded
in a browser, each in turn with the yardstick: the page of a run of one node from the same server. What is
timed is from the click until the page has been painted and its script has run.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import Request, urlopen

from playwright.sync_api import Page, sync_playwright

from benchmarks.measure import FLOWS, Figure, pairs, private_store

LAYERED = FLOWS.with_name("layered.py")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
#: seconds in which each page is to be usable
GOAL = 1.0
PAINTED = "new Promise(then => requestAnimationFrame(() => setTimeout(then)))"


@contextmanager
def served() -> Iterator[str]:
    """`goflow serve` over a store of its own; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "goflow_cli.main", "serve", str(FLOWS), str(LAYERED)]
    command += ["--port", str(port)]
    with private_store() as environment:
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, stderr=subprocess.DEVNULL
        )
        try:
            url = f"http://127.0.0.1:{port}"
            while not _workers(url):
                time.sleep(0.05)
            yield url
        finally:
            process.terminate()
            process.wait()


def _workers(url: str) -> list[Any]:
    try:
        with urlopen(f"{url}/workers") as answer:
            found: list[Any] = json.load(answer)["workers"]
            return found
    except OSError:
        return []


def run(url: str, flow: str, body: bytes = b"", *, wait: bool = True) -> str:
    """A run of the flow, ended unless `wait` is False; its page."""
    asked = Request(f"{url}/flow/{flow}?wait={60 if wait else 0}", data=body, method="POST")
    with urlopen(asked) as answer:
        return f"{url}/ui/run/{answer.headers['x-request-id']}"


def figures(runs: int) -> Iterator[Figure]:
    """A figure for each page."""
    with served() as url, sync_playwright() as playwright:
        one = run(url, "single")
        pages = {
            "run page, a flow of 1,000 nodes": run(url, "layered"),
            "run page, a foreach of 10,000 items": run(url, "fan-out", b"10000"),
        }
        for _ in range(10_000):
            run(url, "single", wait=False)
        pages["runs, 10,000 of them, first page"] = f"{url}/ui/runs"
        pages["runs, 10,000 of them, last page"] = f"{url}/ui/runs?page=100"
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=ARGUMENTS
        )
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        for name, address in pages.items():
            ours, yardstick, ratio = pairs(
                lambda at=address: usable(page, at),  # type: ignore[misc]
                lambda: usable(page, one),
                runs,
            )
            yield Figure(name, ours, yardstick, "s", ratio, f"under {GOAL:g} s", ours < GOAL)
        browser.close()


def usable(page: Page, address: str) -> float:
    """Seconds until a page is painted and answers."""
    begun = time.perf_counter()
    page.goto(address)
    page.evaluate(PAINTED)
    return time.perf_counter() - begun


def main() -> int:
    """Print the figures."""
    holds = True
    for figure in figures(int(os.environ.get("GOFLOW_BENCH_RUNS", "5"))):
        holds &= figure.holds
        print(
            f"{figure.name:40} {figure.ours * 1000:6.0f} ms, one node {figure.yardstick * 1000:4.0f} ms,"
            f" ratio {figure.ratio:.2f}, goal {figure.goal}{'' if figure.holds else '  MISSED'}",
            flush=True,
        )
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
