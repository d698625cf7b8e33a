"""Moves that are killed with -9 at any point go on where they stopped, and nothing half is used."""

from pathlib import Path

import pytest

from tensordeck import errors
from tensordeck.moving.backup import back_up, check_backup, restore
from tensordeck.moving.migration import migrate
from tensordeck.store import open_store
from tensordeck.store.resources import Tensorboard
from tests.moving.conftest import NewPlace
from tests.moving.inventory import inventory
from tests.moving.killing import filled, run_move, text_of
from tests.store.samples import PLACE

KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.heavy)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_migration_that_is_killed_goes_on(new_place: NewPlace, kind: str) -> None:
    source, target = new_place("sqlite"), new_place(kind)
    content = filled(source)
    assert not run_move("migrate", text_of(source), text_of(target), 8)

    with pytest.raises(errors.FailedPrecondition, match="Run that command again"):
        open_store(target)
    other = new_place("sqlite")
    filled(other, 1)
    with pytest.raises(errors.FailedPrecondition, match="Finish that first"):
        migrate(other, target)
    done = migrate(source, target)

    assert done.resumed
    assert inventory(target) == content


@pytest.mark.heavy
def test_a_migration_that_is_killed_after_the_write_stop_goes_on(new_place: NewPlace) -> None:
    source, target = new_place("sqlite"), new_place("sqlite")
    content = filled(source)
    assert not run_move("migrate", text_of(source), text_of(target), 6, "Copying the last writes")
    store = open_store(source)
    with pytest.raises(errors.Unavailable, match="is being moved"):
        store.catalog.create(Tensorboard(name=f"{PLACE}/tensorboards/2"))
    store.close()

    migrate(source, target)

    assert inventory(target) == content


@pytest.mark.heavy
def test_a_restore_that_is_killed_goes_on(new_place: NewPlace, tmp_path: Path) -> None:
    source, target = new_place("sqlite"), new_place("sqlite")
    content = filled(source)
    file = str(tmp_path / "x.tar")
    back_up(source, file)
    assert not run_move("restore", file, text_of(target), 8)

    with pytest.raises(errors.FailedPrecondition, match="Run that command again"):
        open_store(target)

    assert restore(file, target).resumed
    assert inventory(target) == content


def test_a_backup_that_is_killed_leaves_no_file_that_looks_like_one(
    new_place: NewPlace, tmp_path: Path
) -> None:
    source = new_place("sqlite")
    filled(source)
    file = tmp_path / "backups" / "x.tar"
    file.parent.mkdir()
    assert not run_move("backup", text_of(source), str(file), 8)

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
    filled(source)

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
