"""Moves in processes that are killed, of a store with a little of everything that matters there."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tensordeck.settings import Settings
from tensordeck.store import open_store
from tensordeck.store.contract import ScalarColumns, SeriesPoints
from tensordeck.store.resources import Experiment, Run, Tensorboard, TimeSeries
from tests.moving.busy_store import EXPERIMENT
from tests.moving.inventory import inventory
from tests.store.samples import PLACE

SCRIPT = Path(__file__).with_name("killed_move.py")


def filled(place: Settings, runs: int = 4) -> dict[str, object]:
    store = open_store(place)
    store.catalog.create(Tensorboard(name=f"{PLACE}/tensorboards/1"))
    store.catalog.create(Experiment(name=EXPERIMENT))
    for number in range(runs):
        run = store.catalog.create(
            Run(name=f"{EXPERIMENT}/runs/{number}", display_name=f"{number}")
        )
        series = store.catalog.create(TimeSeries(name=f"{run.name}/timeSeries/1"))
        for first in (0, 100):
            steps = np.arange(first, first + 100)
            columns = ScalarColumns(steps, steps, steps * 1.0)
            store.points.append([SeriesPoints(series.pk, run.pk, columns)])
            if first == 0:
                store.points.fold()
    store.close()
    return inventory(place)


def text_of(place: Settings) -> str:
    return f"{place.data_dir}|{place.database_url}"


def run_move(move: str, source: str, target: str, steps: int, doing: str = "") -> bool:
    """Runs a move that is killed at a step; returns whether it was done before."""
    ended = subprocess.run(
        [sys.executable, str(SCRIPT), move, source, target, doing, str(steps)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode in (0, -9), ended.stderr
    return ended.returncode == 0


def kill_until_done(move: str, source: str, target: str, steps: Iterator[int]) -> int:
    """Runs a move again and again; returns how often it was killed."""
    kills = 0
    while not run_move(move, source, target, next(steps)):
        kills += 1
    return kills


def further_each_time(first: int) -> Iterator[int]:
    yield first
    while True:
        first += 25
        yield first
