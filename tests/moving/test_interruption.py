"""Moves that are killed with -9 at any point go on where they stopped, and nothing half is used."""

import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tensordeck import errors
from tensordeck.moving.backup import back_up, check_backup, restore
from tensordeck.moving.migration import migrate
from tensordeck.settings import Settings
from tensordeck.store import open_store
from tensordeck.store.contract import ScalarColumns, SeriesPoints
from tensordeck.store.resources import Experiment, Run, Tensorboard, TimeSeries
from tests.moving.busy_store import EXPERIMENT
from tests.moving.conftest import NewPlace
from tests.moving.inventory import inventory
from tests.store.samples import PLACE

KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.heavy)]
SCRIPT = Path(__file__).with_name("killed_move.py")


def _filled(place: Settings, runs: int = 4) -> dict[str, object]:
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


def _text(place: Settings) -> str:
    return f"{place.data_dir}|{place.database_url}"


def _run(move: str, source: str, target: str, steps: int, doing: str = "") -> bool:
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


def _kill_until_done(move: str, source: str, target: str, steps: Iterator[int]) -> int:
    """Runs a move again and again; returns how often it was killed."""
    kills = 0
    while not _run(move, source, target, next(steps)):
        kills += 1
    return kills


def _further_each_time(first: int) -> Iterator[int]:
    yield first
    while True:
        first += 25
        yield first


@pytest.mark.parametrize("kind", KINDS)
def test_a_migration_that_is_killed_goes_on(new_place: NewPlace, kind: str) -> None:
    source, target = new_place("sqlite"), new_place(kind)
    content = _filled(source)
    assert not _run("migrate", _text(source), _text(target), 20)

    with pytest.raises(errors.FailedPrecondition, match="Run that command again"):
        open_store(target)
    other = new_place("sqlite")
    _filled(other, 1)
    with pytest.raises(errors.FailedPrecondition, match="Finish that first"):
        migrate(other, target)
    done = migrate(source, target)

    assert done.resumed
    assert inventory(target) == content


@pytest.mark.heavy
def test_a_migration_that_is_killed_after_the_write_stop_goes_on(new_place: NewPlace) -> None:
    source, target = new_place("sqlite"), new_place("sqlite")
    content = _filled(source)
    assert not _run("migrate", _text(source), _text(target), 10, "Copying the last writes")
    store = open_store(source)
    with pytest.raises(errors.Unavailable, match="is being moved"):
        store.catalog.create(Tensorboard(name=f"{PLACE}/tensorboards/2"))
    store.close()

    migrate(source, target)

    assert inventory(target) == content


@pytest.mark.heavy
def test_a_restore_that_is_killed_goes_on(new_place: NewPlace, tmp_path: Path) -> None:
    source, target = new_place("sqlite"), new_place("sqlite")
    content = _filled(source)
    file = str(tmp_path / "x.tar")
    back_up(source, file)
    assert not _run("restore", file, _text(target), 20)

    with pytest.raises(errors.FailedPrecondition, match="Run that command again"):
        open_store(target)

    assert restore(file, target).resumed
    assert inventory(target) == content


def test_a_backup_that_is_killed_leaves_no_file_that_looks_like_one(
    new_place: NewPlace, tmp_path: Path
) -> None:
    source = new_place("sqlite")
    _filled(source)
    file = tmp_path / "backups" / "x.tar"
    file.parent.mkdir()
    assert not _run("backup", _text(source), str(file), 20)

    assert not file.exists()
    with pytest.raises(errors.FailedPrecondition):
        check_backup(str(file))
    back_up(source, str(file))
    check_backup(str(file))
    assert [path.name for path in file.parent.iterdir()] == ["x.tar"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_failed_migration_lets_the_source_take_writes_again(
    new_place: NewPlace, kind: str
) -> None:
    source, target = new_place(kind), new_place("sqlite")
    _filled(source)

    def progress(step: object) -> None:
        if "Comparing" in str(step):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        migrate(source, target, progress=progress)

    store = open_store(source)
    store.catalog.create(Tensorboard(name=f"{PLACE}/tensorboards/2"))
    store.close()
    content = inventory(source)
    migrate(source, target)
    assert inventory(target) == content


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("to", ["sqlite", "postgresql"])
def test_moves_survive_kills_at_any_point(
    new_place: NewPlace, tmp_path: Path, kind: str, to: str, rounds: Callable[[int, int], int]
) -> None:
    chance = random.Random(20261124)
    kills = 0
    for number in range(rounds(12, 2)):
        source, target, third = new_place(kind), new_place(to), new_place(kind)
        content = _filled(source)
        file = str(tmp_path / f"{kind}-{to}-{number}.tar")
        kills += _kill_until_done(
            "backup", _text(source), file, _further_each_time(chance.randrange(1, 60))
        )
        kills += _kill_until_done(
            "restore", file, _text(third), _further_each_time(chance.randrange(1, 60))
        )
        kills += _kill_until_done(
            "migrate",
            _text(source),
            _text(target),
            _further_each_time(chance.randrange(1, 60)),
        )
        assert inventory(target) == content
        assert inventory(third) == content
    assert kills
