"""Downsampling keeps what the eye would miss."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tensordeck.board.downsampling import evenly_spaced, shape_keeping

values = st.floats(width=32) | st.sampled_from([np.nan, np.inf, -np.inf, 0.0])


@st.composite
def series(draw):
    points = draw(st.lists(values, min_size=1, max_size=300))
    gaps = draw(st.lists(st.integers(1, 1000), min_size=len(points), max_size=len(points)))
    return np.cumsum(np.array(gaps, dtype=np.int64)), np.array(points, dtype=np.float64)


@given(series(), st.integers(2, 60))
def test_a_choice_is_ascending_within_the_limit_and_holds_both_ends(points, limit):
    steps, data = points
    chosen = shape_keeping(steps, data, limit)
    if chosen is None:
        assert len(steps) <= limit
        return
    assert len(chosen) <= limit
    assert (np.diff(chosen) > 0).all()
    assert chosen[0] == 0
    assert chosen[-1] == len(steps) - 1


@given(series(), st.integers(2, 60))
def test_the_same_points_give_the_same_choice(points, limit):
    first, second = shape_keeping(*points, limit), shape_keeping(*points, limit)
    assert first is second is None or (first == second).all()


@given(series(), st.integers(8, 60))
def test_a_lonely_nan_or_infinity_survives(points, limit):
    steps, data = points
    data = np.where(np.isfinite(data), data, 0.0)
    data[len(data) // 2] = np.nan
    data[len(data) // 3] = np.inf
    chosen = shape_keeping(steps, data, limit)
    shown = data if chosen is None else data[chosen]
    assert np.isnan(shown).any() == np.isnan(data).any()
    assert np.isinf(shown).any() == np.isinf(data).any()


def test_one_peak_among_a_million_points_survives():
    steps = np.arange(1_000_000)
    data = np.zeros(len(steps))
    data[654_321] = 1.0
    chosen = shape_keeping(steps, data, 1000)
    assert 654_321 in chosen
    assert len(chosen) <= 1000


def test_a_series_of_nothing_but_nan_is_cut():
    chosen = shape_keeping(np.arange(5000), np.full(5000, np.nan), 1000)
    assert chosen.tolist() == [0, 4999]


def test_alternating_nan_leaves_room_for_values():
    data = np.arange(10_000, dtype=np.float64)
    data[::2] = np.nan
    chosen = shape_keeping(np.arange(10_000), data, 1000)
    assert len(chosen) <= 1000
    assert np.isnan(data[chosen]).sum() >= 400
    assert np.isfinite(data[chosen]).sum() >= 400


@given(st.integers(0, 2000), st.integers(0, 50))
def test_evenly_spaced_positions_hold_both_ends(count, limit):
    chosen = evenly_spaced(count, limit)
    assert len(chosen) == min(count, limit)
    if min(count, limit) >= 2:
        assert (chosen[0], chosen[-1]) == (0, count - 1)
