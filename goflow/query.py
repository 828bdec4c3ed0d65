"""A run's query parameters, from what a program gives: `{name: [text, ...]}`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from goflow.errors import PayloadError


def of_query(query: object) -> dict[str, list[str]]:
    """The options of a run, all values of a name in order; one text alone is one value, not its letters.

    Raises PayloadError for anything else.

    >>> of_query({"size": "large", "page": ["1", "2"]})
    {'size': ['large'], 'page': ['1', '2']}
    """
    if query is None:
        return {}
    if not isinstance(query, Mapping):
        raise PayloadError(f'query: expected a mapping such as {{"size": ["5"]}}, got {query!r}')
    options: dict[str, list[str]] = {}
    for name, values in query.items():
        if isinstance(values, str):
            options[str(name)] = [values]
        elif isinstance(values, Iterable) and not isinstance(values, bytes | bytearray | Mapping):
            options[str(name)] = [str(value) for value in values]
        else:
            raise PayloadError(
                f'query: expected a list of texts for {str(name)!r}, such as ["5"], got {values!r}'
            )
    return options
