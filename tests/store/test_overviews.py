"""Samples of long series: what overviews return is what a thinned whole read returns."""

import numpy as np
import pytest

from tests.store.points_place import open_place

LIMIT = 8
"""Points in a segment."""
LONG = 16 * LIMIT + 3 * LIMIT
"""From here on a series surely has an overview."""


@pytest.fixture
def place(settings):
    with open_place(settings, segment_points=LIMIT) as opened:
        opened.make_experiment()
        yield opened


@pytest.fixture
def key(place):
    return place.make_run("r", 1)[0]


def log(place, key, start, end, value=0.0):
    """Writes steps in requests of a few and folds now and then, as a training job makes it."""
    for at in range(start, end, 5):
        steps = range(at, min(at + 5, end))
        place.write(key, steps, [value + step for step in steps])
        if at % 3 == 0:
            place.points.fold()
    place.points.fold()


def sample(place, key, least=1):
    """Checks that a sample is evenly spaced, true and complete at its ends; returns its size."""
    whole = dict(place.read(key))
    columns = place.points.sample_scalars([key], least)[key[1]]
    steps = columns.steps.tolist()
    assert columns.values.tolist() == [whole[step] for step in steps]
    order = sorted(whole)
    indices = [order.index(step) for step in steps]
    assert (indices[0], indices[-1]) == (0, len(order) - 1)
    gaps = np.diff(indices)
    assert (gaps[:-1] == gaps[0]).all()
    assert 1 <= gaps[-1] <= gaps[0]
    assert len(steps) >= min(least, len(order))
    return len(steps)


def test_a_short_series_is_read_whole(place, key):
    log(place, key, 0, 50)
    assert sample(place, key) == 50


@pytest.mark.parametrize("count", [LONG, 1_000, 2_555])
def test_a_sample_is_no_longer_for_a_longer_series(place, key, count):
    log(place, key, 0, count)
    assert sample(place, key) <= 4 * LIMIT
    assert sample(place, key, LIMIT // 2) <= 4 * LIMIT


def test_more_points_than_an_overview_has_are_read_from_the_segments(place, key):
    log(place, key, 0, LONG)
    assert sample(place, key, LIMIT + 1) == LONG


def test_what_is_not_folded_yet_is_in_the_sample(place, key):
    log(place, key, 0, LONG)
    place.write(key, [LONG, LONG + 1], [0.5, 0.25])
    assert sample(place, key) <= 4 * LIMIT


@pytest.mark.parametrize("folded", [False, True])
def test_a_rewritten_step_shows_in_the_sample(place, key, folded):
    log(place, key, 0, LONG)
    place.write(key, [0], [-1.0])
    if folded:
        place.points.fold()
    sample(place, key)
    assert place.points.sample_scalars([key], 1)[key[1]].values[0] == -1


def test_points_between_others_are_counted_in(place, key):
    for step in range(LONG):
        place.write(key, [2 * step], [step])
    place.points.fold()
    place.write(key, [1, 11, 2 * LONG - 3], [7, 8, 9])
    place.points.fold()
    sample(place, key)


def test_a_series_that_was_changed_gets_an_overview_again(place, key):
    log(place, key, 0, LONG)
    place.write(key, [3], [0.5])
    place.points.fold()
    assert sample(place, key) == LONG
    log(place, key, LONG, 2 * LONG)
    assert sample(place, key) <= 4 * LIMIT


def test_a_large_request_makes_an_overview_at_once(place, key):
    place.write(key, range(1_000), range(1_000))
    place.points.fold()
    assert sample(place, key) <= 4 * LIMIT


def test_series_are_sampled_together(place):
    keys = place.make_run("s", 3)
    for key, count in zip(keys, (10, LONG, 500), strict=True):
        log(place, key, 0, count, value=key[1])
    together = place.points.sample_scalars(keys, 1)
    for key in keys:
        alone = place.points.sample_scalars([key], 1)[key[1]]
        assert together[key[1]].steps.tolist() == alone.steps.tolist()
        assert together[key[1]].values.tolist() == alone.values.tolist()
