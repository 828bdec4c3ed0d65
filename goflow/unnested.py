"""Recursion without Python's stack: what is nested is walked by generators that hand over to one another.

A walk through DAGs inside DAGs is written as if it recursed, but it *yields* the walk of what is inside instead of
calling it. Whoever drives it keeps the walks that wait in a list, so a flow may nest as deep as memory lasts and
not as deep as the interpreter's stack, and each item passes one generator instead of one for every level.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from types import GeneratorType
from typing import Any, TypeVar

T = TypeVar("T")

#: a walk that yields items, and walks in whose place theirs come
Walk = Generator["T | Generator[Any, None, None]", None, None]
#: a computation that yields computations, gets what they return, and returns a value
Computation = Generator["Computation[Any]", Any, T]


def flattened(walk: Walk[T]) -> Iterator[T]:
    """The items of a walk and of every walk it yields, in their order.

    >>> def digits(tree):
    ...     for each in tree:
    ...         yield digits(each) if isinstance(each, list) else each
    >>> list(flattened(digits([1, [2, [3]], 4])))
    [1, 2, 3, 4]
    """
    waiting: list[Iterator[Any]] = [walk]
    while waiting:
        for each in waiting[-1]:
            if isinstance(each, GeneratorType):
                waiting.append(each)
                break
            yield each
        else:
            waiting.pop()


def computed(computation: Computation[T]) -> T:
    """What a computation returns, once those it yields have; what one raises, the one that waits for it gets.

    >>> def height(tree):
    ...     tallest = 0
    ...     for each in tree:
    ...         tallest = max(tallest, (yield height(each)))
    ...     return tallest + 1
    >>> computed(height([[], [[]]]))
    3
    """
    waiting: list[Computation[Any]] = [computation]
    value: Any = None
    failure: Exception | None = None
    while waiting:
        try:
            if failure is None:
                further = waiting[-1].send(value)
            else:
                further = waiting[-1].throw(failure)
        except StopIteration as end:
            waiting.pop()
            value, failure = end.value, None
        except Exception as error:  # noqa: BLE001 - it is for whatever waits to handle
            waiting.pop()
            value, failure = None, error
        else:
            waiting.append(further)
            value = failure = None
    if failure is not None:
        raise failure
    found: T = value
    return found
