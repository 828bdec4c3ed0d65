"""A branch or sub-DAG opens: which scopes it has, and what each of them starts with.

What the author's condition or foreach returned is checked here; keys are as declared or as returned, never
sorted. A wide fan-out is staged in chunks while it is still being iterated over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from goflow.draft import KEY_RULE, Functions, key_text
from goflow.errors import PayloadError, nearest
from goflow.message import Item, Opened
from goflow.nodepath import Place, encode_key
from goflow.payload import EMPTY, Payload, encode
from goflow.plan import WINDOW, Node
from goflow.workflow import Context

#: scopes in one `Item` chunk: small enough for any store to write at once
CHUNK: Final = 500

#: what is called with the scopes of a wide branch before the last chunk
Stage = Callable[[Sequence[Item]], None]


def open_scopes(
    place: Place, code: Functions, data: Payload, context: Context, stage: Stage | None
) -> Opened | Payload:
    """The scopes of a branch or sub-DAG, or its result at once where there are none."""
    node, path = place.node, place.path
    if node.kind == "sub_dag":
        graph = node.dags[""]
        item = Item(f"{path}/", graph.starts, data)
        return Opened(len(graph.ends), 0, None, (item,))
    assert code.choose is not None
    chosen = code.choose.on(data, context)
    if node.kind == "conditional":
        keys = _condition_keys(node, chosen)
        if not keys:
            return EMPTY if node.execution_only else data
        items = tuple(Item(f"{path}[{encode_key(k)}]/", node.dags[k].starts, data) for k in keys)
        return Opened(len(keys), 0, tuple(encode_key(k) for k in keys), items)
    return _fan_out(node, path, chosen, code, context, stage)


def _fan_out(
    node: Node, path: str, chosen: object, code: Functions, context: Context, stage: Stage | None
) -> Opened | Payload:
    keyed = isinstance(chosen, Mapping)
    starts = node.dags[""].starts
    keys: list[str] = []
    chunk: list[Item] = []
    count = 0
    for key, value in _foreach_items(chosen):
        if keyed:
            keys.append(key)
        chunk.append(Item(f"{path}[{key}]/", starts, encode(value)))
        count += 1
        if len(chunk) == CHUNK and stage is not None:
            stage(chunk)
            chunk = []
    if not count:
        if node.execution_only:
            return EMPTY
        if code.aggregator is not None:
            return encode(code.aggregator.on_all({}, context))
        return encode({} if keyed else [])
    window = node.max_parallel or WINDOW
    return Opened(count, window, tuple(keys) if keyed else None, tuple(chunk))


def _foreach_items(chosen: object) -> Iterator[tuple[str, object]]:
    """Encoded key and value of each item, in the order they came."""
    if isinstance(chosen, Mapping):
        seen: set[str] = set()
        for raw, value in chosen.items():
            key = key_text(raw)
            if key is None:
                raise PayloadError(f"foreach returned the key {raw!r:.80}: expected {KEY_RULE}")
            if key in seen:
                raise PayloadError(
                    f"foreach returned the key {key!r} twice (as text and as number)"
                )
            seen.add(key)
            yield encode_key(key), value
        return
    if isinstance(chosen, str | bytes | bytearray | memoryview) or not isinstance(chosen, Iterable):
        raise PayloadError(
            "foreach must return a mapping of keys to payloads or an iterable of payloads,"
            f" got {type(chosen).__name__}"
        )
    for position, value in enumerate(chosen):
        yield str(position), value


def _condition_keys(node: Node, chosen: object) -> list[str]:
    """The chosen keys, each once, in the order the conditions were declared."""
    if chosen is None:
        return []
    single = isinstance(chosen, str | int)
    if not single and (isinstance(chosen, bytes) or not isinstance(chosen, Iterable)):
        raise PayloadError(
            f"condition must return a key or keys of {list(node.dags)}, got {type(chosen).__name__}"
        )
    several: Iterable[object] = [chosen] if single else chosen  # type: ignore[assignment]
    keys: dict[str, None] = {}
    for raw in several:
        key = key_text(raw)
        if key is None or key not in node.dags:
            raise PayloadError(
                f"condition returned the unknown key {raw!r:.80}{nearest(str(raw), node.dags)}"
            )
        keys[key] = None
    return [key for key in node.dags if key in keys]
