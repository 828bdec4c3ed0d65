"""The names that flow files and programs may rely on. A change here is a change for users."""

from __future__ import annotations

import inspect

import pytest

import goflow
from goflow.errors import GoflowError

PUBLIC = [
    "AsyncClient",
    "BackendError",
    "Client",
    "Conflict",
    "Context",
    "ContextError",
    "Dag",
    "DefinitionError",
    "FlowService",
    "GoflowError",
    "NodeFailed",
    "Payload",
    "PayloadError",
    "Run",
    "RunFailed",
    "RunStopped",
    "UnknownFlow",
    "UnknownRun",
    "Workflow",
    "current_context",
    "flow",
]


def test_these_names_are_public_and_no_others() -> None:
    assert goflow.__all__ == PUBLIC
    assert dir(goflow) == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_exists_and_is_explained(name: str) -> None:
    assert inspect.getdoc(getattr(goflow, name))


def test_a_star_import_brings_the_public_names() -> None:
    names: dict[str, object] = {}
    exec("from goflow import *", names)
    assert set(PUBLIC) <= names.keys()


def test_any_other_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'goflow' has no attribute 'Workfow'"):
        goflow.Workfow  # noqa: B018


def test_every_public_error_is_a_goflow_error() -> None:
    errors = [goflow.__dict__.get(name) or getattr(goflow, name) for name in PUBLIC]
    raised = [each for each in errors if isinstance(each, type) and issubclass(each, Exception)]
    assert len(raised) == 11
    assert all(issubclass(error, GoflowError) for error in raised)


@pytest.mark.parametrize("name", [name for name in PUBLIC if name[0].isupper()])
def test_every_public_method_is_explained(name: str) -> None:
    owner = getattr(goflow, name)
    plain = [
        method
        for method, value in vars(owner).items()
        if not method.startswith("_") and callable(value) and not inspect.getdoc(value)
    ]
    assert plain == []


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (
            goflow.Dag.node,
            "(self, name, work=None, *, aggregator=None, on_failure=None, retries=0, retry_delay=1.0,"
            " retry_backoff=2.0, timeout=None, on_worker_lost='retry')",
        ),
        (goflow.Dag.edge, "(self, from_, to, *, forwarder=None, execution_only=False)"),
        (goflow.Dag.sub_dag, "(self, name, dag)"),
        (
            goflow.Dag.conditional_branch,
            "(self, name, conditions, condition, *, aggregator=None, execution_only=False)",
        ),
        (
            goflow.Dag.foreach_branch,
            "(self, name, foreach, *, aggregator=None, execution_only=False, max_parallel=None)",
        ),
        (goflow.Dag.append, "(self, other)"),
        (goflow.Dag.validate, "(self)"),
        (goflow.Dag.definition, "(self)"),
        (goflow.Workflow.on_failure, "(self, handler)"),
        (goflow.Workflow.finally_, "(self, handler)"),
        (goflow.Context.set, "(self, key, value)"),
        (goflow.Context.get, "(self, key, default=None)"),
        (goflow.Context.delete, "(self, key)"),
    ],
    ids=lambda value: getattr(value, "__qualname__", None),
)
def test_signatures_are_those_that_are_documented(call: object, expected: str) -> None:
    assert callable(call)
    signature = inspect.signature(call)
    bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    assert str(inspect.Signature(bare)) == expected


def test_the_service_has_the_options_that_are_documented() -> None:
    parameters = inspect.signature(goflow.FlowService).parameters
    documented = {
        "port": 8080,
        "redis_url": None,
        "worker_concurrency": 5,
        "request_auth_secret": None,
        "enable_monitoring": False,
        "open_trace_url": None,
        "host": "127.0.0.1",
        "backend": None,
    }
    assert {name: parameters[name].default for name in documented} == documented


def test_the_context_tells_what_is_documented() -> None:
    told = {name for name, value in vars(goflow.Context).items() if isinstance(value, property)}
    assert told == {
        "run_id",
        "flow",
        "node",
        "attempt",
        "query",
        "headers",
        "node_input",
        "idempotency_key",
        "logger",
    }


def test_a_run_tells_what_is_documented() -> None:
    fields = goflow.Run.__struct_fields__
    assert fields[:7] == ("id", "flow", "state", "created", "started", "finished", "error")
