"""`goflow flows`: what is registered."""

from __future__ import annotations

import click

from goflow.layers import display
from goflow.plan import Plan
from goflow_cli.session import Session, backend_option, json_option, note
from goflow_cli.table import moment, print_table
from goflow_cli.told import print_json


@click.command()
@backend_option
@json_option
def flows(backend: str | None, as_json: bool) -> int:
    """List the flows of goflow.toml and those any process has registered."""
    session = Session(None, backend)
    store = session.backend
    known = {d.flow: (d.fingerprint, d.file, d.registered, d.plan) for d in store.definitions()}
    for name, flow in session.flows().items():
        if name not in known or known[name][0] != flow.plan.fingerprint:
            known[name] = (flow.plan.fingerprint, flow.file, 0.0, flow.plan.to_json())
    workers = [key for worker in store.workers() if worker.alive for key in worker.flows]
    waiting = store.waiting()
    told = [
        {
            "flow": name,
            "fingerprint": fingerprint,
            "nodes": Plan.from_json(plan).size,
            "workers": workers.count((name, fingerprint)),
            "waiting": sum(n for (flow_name, _), n in waiting.items() if flow_name == name),
            "registered": registered or None,
            "file": file,
        }
        for name, (fingerprint, file, registered, plan) in sorted(known.items())
    ]
    if as_json:
        print_json(told)
        return 0
    if not told:
        note("goflow: no flows yet: name files under `flows` in goflow.toml, or run one")
        return 0
    head = ["FLOW", "NODES", "WORKERS", "WAITING", "REGISTERED", "FILE"]
    rows = [
        [
            str(flow["flow"]),
            str(flow["nodes"]),
            str(flow["workers"]),
            str(flow["waiting"]),
            moment(known[str(flow["flow"])][2] or None),
            display(str(flow["file"])),
        ]
        for flow in told
    ]
    print_table(head, rows)
    return 0
