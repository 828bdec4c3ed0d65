"""`goflow submit --server URL`: the same over HTTP, where nothing of the run is on this machine."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from goflow.client import SERVERS, Client
from goflow.config import Config
from goflow.errors import ConfigError, RunEnded
from goflow.payload import Payload
from goflow_cli.ending import print_end
from goflow_cli.exit_codes import INTERRUPTED, TIMED_OUT
from goflow_cli.session import note
from goflow_cli.told import print_json, run_json


def submit_afar(
    server: str,
    config: Config,
    flow: str,
    payload: Payload,
    *,
    query: Mapping[str, Sequence[str]],
    run_id: str | None,
    wait: float | None,
    as_json: bool,
) -> int:
    """Hand over a run, and with `wait` (seconds, infinite for no end) print how it ended."""
    if not server.startswith(SERVERS):
        raise ConfigError(f"--server: expected a URL such as http://127.0.0.1:8080, got {server!r}")
    with Client(server, config=config) as client:
        run = client.submit(flow, payload, run_id=run_id, query=query)
        if wait is not None:
            note(run.id)
            return _await(client, run.id, wait, as_json=as_json)
    if as_json:
        print_json(run_json(run))
    else:
        print(run.id)
    return 0


def _await(client: Client, run_id: str, wait: float, *, as_json: bool) -> int:
    try:
        client.wait(run_id, None if math.isinf(wait) else wait)
    except TimeoutError as error:
        note(f"goflow: {error}")
        return TIMED_OUT
    except RunEnded:
        pass  # how is told below
    except KeyboardInterrupt:
        note(f"goflow: run {run_id} goes on")
        return INTERRUPTED
    return print_end(client, client.run(run_id), as_json=as_json, kept=False)
