"""Widths, cutting, wrapping, times and counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goflow.drawing.look import paint
from goflow.drawing.text import (
    DURATION,
    PROGRESS,
    clean,
    count,
    cut,
    duration,
    progress,
    split,
    width,
    wrap,
)


@pytest.mark.parametrize(("text", "columns"), [("abc", 3), ("日本", 4), ("e\u0301", 1), ("", 0)])
def test_wide_characters_take_two_columns_and_marks_none(text: str, columns: int) -> None:
    assert width(text) == columns


def test_nothing_that_steers_a_terminal_gets_through() -> None:
    assert clean("a\x1b[31mb\r\nc\u202ed\x07") == "a\\x1b[31mb c\\u202ed\\x07"
    assert clean("naïve 日", unicode=False) == "na\\xefve \\u65e5"


@given(st.text())
def test_cleaned_text_is_printable_and_on_one_line(text: str) -> None:
    assert clean(text).isprintable()
    assert clean(text, unicode=False).isascii()


@given(st.text(st.characters(categories=["L", "N"])), st.integers(0, 30))
def test_cut_text_fits(text: str, columns: int) -> None:
    assert width(cut(text, columns)) <= columns
    assert cut(text, width(text)) == text


@given(st.text(st.characters(categories=["L", "N"]), min_size=1), st.integers(2, 30))
def test_split_text_loses_nothing(text: str, columns: int) -> None:
    head, rest = split(text, columns)
    assert head + rest == text
    assert head
    assert width(head) <= columns


@given(st.lists(st.text("abc日", min_size=1, max_size=12)), st.integers(2, 20), st.integers(2, 20))
def test_wrapped_words_fit_and_lose_nothing(words: list[str], first: int, rest: int) -> None:
    lines = list(wrap(words, first, rest))
    assert "".join(lines).replace(" ", "") == "".join(words)
    assert all(width(line) <= (first if not i else rest) for i, line in enumerate(lines))


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (-1, "0 ms"),
        (0.0031, "3 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (9.96, "10 s"),
        (59.6, "1m00s"),
        (187, "3m07s"),
        (3599.6, "1h00m"),
        (18120, "5h02m"),
        (100 * 3600, "4d04h"),
        (1e9, "11574d"),
    ],
)
def test_durations_read_well(seconds: float, told: str) -> None:
    assert duration(seconds) == told


@given(st.floats(0, 1e9))
def test_durations_fit_their_column(seconds: float) -> None:
    assert len(duration(seconds)) <= DURATION


@pytest.mark.parametrize(
    ("number", "told"), [(0, "0"), (9999, "9999"), (10_000, "10k"), (1_250_000, "1.2M")]
)
def test_counts_read_well(number: int, told: str) -> None:
    assert count(number) == told


@given(st.integers(0, 10**11), st.integers(0, 10**11))
def test_progress_fits_its_column(done: int, of: int) -> None:
    assert len(progress(done, of)) <= PROGRESS


def test_painted_lines_end_where_their_text_ends() -> None:
    line = [("a ", "31"), ("  ", ""), ("b", ""), ("   ", "2")]
    assert paint(line, False) == "a   b"
    assert paint(line, True) == "\x1b[31ma \x1b[0m  b"
