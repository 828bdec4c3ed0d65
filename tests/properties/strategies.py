"""Random flows as a Hypothesis strategy."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.properties.shapes import Artist, Flow


class Drawn:
    """Dice that Hypothesis throws, so that it can shrink what falls."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def integer(self, low: int, high: int) -> int:
        return self._draw(st.integers(low, high))


@st.composite
def flows(draw: st.DrawFn) -> Flow:
    return Artist(Drawn(draw)).flow()
