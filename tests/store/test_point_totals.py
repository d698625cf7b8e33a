"""What the points of runs, experiments and instances come to."""

from collections.abc import Iterator

import numpy as np
import pytest

from tensordeck.settings import Settings
from tensordeck.store.contract import NO_WALL_TIME, PointTotals
from tensordeck.store.resources import Experiment, Run, Tensorboard, TimeSeries
from tests.store.points_place import BOARD, EXPERIMENT, Key, Place, open_place


@pytest.fixture
def place(settings: Settings) -> Iterator[Place]:
    with open_place(settings) as place:
        place.make_experiment()
        yield place


def pk(place: Place, kind: type[Tensorboard] | type[Experiment] | type[Run], name: str) -> int:
    return place.catalog.get(kind, name).pk


def elsewhere(place: Place, name: str) -> Key:
    """A series in an experiment of another name, in an instance that is made if need be."""
    board = name.partition("/experiments/")[0]
    if place.catalog.find(Tensorboard, board) is None:
        place.catalog.create(Tensorboard(name=board))
    place.catalog.create(Experiment(name=name))
    run = place.catalog.create(Run(name=f"{name}/runs/r", display_name="r"))
    series = place.catalog.create(TimeSeries(name=f"{run.name}/timeSeries/1", display_name="t"))
    return run.pk, series.pk


def test_sizes_count_what_is_stored_folded_or_not(place):
    one, other = place.make_run("r", 2)
    rng = np.random.default_rng(1)
    sizes = []
    for key in (one, other):
        place.write(key, list(range(500)), rng.normal(size=500).tolist())
        sizes.append(place.points.totals(Run, [one[0]])[one[0]].size)
    place.points.fold()
    folded = place.points.totals(Run, [one[0]])[one[0]].size

    assert 500 * 4 < sizes[0] < sizes[1] < 1000 * 64
    assert 1000 * 4 < folded < 1000 * 64


def test_the_latest_wall_time_is_that_of_all_series(place):
    first, second = place.make_run("a", 2)
    other = place.make_run("b", 1)[0]
    place.write(first, [1, 2, 3], [0.0, 0.0, 0.0], wall=1000)
    place.write(second, [1], [0.0], wall=500)
    place.points.fold()

    totals = place.points.totals(Run, [first[0], other[0], 999])

    assert totals[first[0]].last_logged == 1003
    assert totals[other[0]] == totals[999] == PointTotals(0, NO_WALL_TIME)
    assert place.points.totals(Run, []) == {}


def test_experiments_and_instances_add_up_all_below_and_nothing_else(place):
    runs = [place.make_run("a", 2), place.make_run("b", 1)]
    second = elsewhere(place, f"{BOARD}/experiments/second")
    foreign = elsewhere(place, f"{BOARD}0/experiments/e")
    place.catalog.create(Experiment(name=f"{BOARD}/experiments/empty"))
    for wall, key in enumerate([*runs[0], *runs[1], second]):
        place.write(key, [1, 2], [0.5, 1.5], wall=1000 * wall)
    place.points.fold()
    place.write(foreign, [7], [1.0], wall=10**9)
    place.write(runs[1][0], [3], [1.0])  # counted before it is folded

    by_run = place.points.totals(Run, [runs[0][0][0], runs[1][0][0], second[0], foreign[0]])
    names = [EXPERIMENT, f"{BOARD}/experiments/second", f"{BOARD}/experiments/empty"]
    keys = [pk(place, Experiment, name) for name in names]
    by_experiment = place.points.totals(Experiment, keys)
    boards = [pk(place, Tensorboard, BOARD), pk(place, Tensorboard, f"{BOARD}0")]
    by_board = place.points.totals(Tensorboard, boards)

    a, b, c, d = by_run.values()
    assert all(one.size > 0 for one in (a, b, c, d))
    assert by_experiment[keys[0]] == PointTotals(a.size + b.size, 2002)
    assert by_experiment[keys[1]] == c
    assert by_experiment[keys[2]] == PointTotals()
    assert by_board[boards[0]] == PointTotals(a.size + b.size + c.size, 3002)
    assert by_board[boards[1]] == d


def test_what_is_deleted_counts_no_more(place):
    key = place.make_run("a", 1)[0]
    place.write(key, [1], [1.0], wall=5)
    place.points.fold()
    place.write(key, [2], [1.0], wall=5)
    board = pk(place, Tensorboard, BOARD)
    assert place.points.totals(Tensorboard, [board])[board].size > 0

    place.catalog.delete(Run, f"{EXPERIMENT}/runs/a")

    assert place.points.totals(Tensorboard, [board]) == {board: PointTotals()}
