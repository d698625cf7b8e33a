"""Sizes and times in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensordeck.console.display import human_bytes, human_time

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.00 kB"),
        (12_345, "12.3 kB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (1_234_567, "1.23 MB"),
        (5 * 10**9, "5.00 GB"),
        (12 * 10**15, "12000 TB"),
    ],
)
def test_sizes_have_three_digits(size: int, text: str):
    assert human_bytes(size) == text


@given(st.integers(min_value=0, max_value=10**15))
def test_a_size_in_words_is_within_a_percent(size: int):
    number, unit = human_bytes(size).split()
    scale = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}[unit]

    assert float(number) * scale == pytest.approx(size, rel=0.01)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "just now"),
        (0, "just now"),
        (59, "just now"),
        (60, "1 minute ago"),
        (3_599, "59 minutes ago"),
        (7_200, "2 hours ago"),
        (86_400, "1 day ago"),
        (40 * 86_400, "1 month ago"),
        (800 * 86_400, "2 years ago"),
    ],
)
def test_times_are_told_in_the_largest_unit_that_fits(seconds: int, text: str):
    assert human_time(int((NOW - seconds) * 1e6), NOW) == text


def test_a_time_that_is_not_set_is_never():
    assert human_time(0, NOW) == "never"
