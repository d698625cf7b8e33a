"""Stores are backed up and moved while they are written."""

from pathlib import Path

import pytest

from tensordeck import errors
from tensordeck.moving.backup import back_up, restore
from tensordeck.moving.migration import migrate, release
from tensordeck.store.resources import Tensorboard
from tests.moving.busy_store import DEADLINE_SECONDS, objects_of, runs_of, written
from tests.moving.conftest import NewPlace
from tests.store.samples import PLACE

KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.heavy)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_backup_is_one_moment_of_a_store_that_is_written(
    new_place: NewPlace, tmp_path: Path, kind: str
) -> None:
    source, target = new_place(kind), new_place("sqlite")
    file = str(tmp_path / "x.tar")
    with written(source) as writing:
        writing.wait_for_a_beginning()
        acknowledged, objects = writing.snapshot()
        manifest = back_up(source, file)
    restore(file, target)

    assert writing.faults == []
    assert manifest.lost == ""
    restored = runs_of(target)
    for name, points in acknowledged.items():
        assert points <= len(restored[name]) <= writing.acknowledged[name] + 5
    assert objects_of(target).keys() >= {"bucket/0"}
    assert objects


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("to", KINDS)
def test_no_acknowledged_write_is_missing_from_where_a_store_moved(
    new_place: NewPlace, kind: str, to: str
) -> None:
    source, target = new_place(kind), new_place(to)
    with written(source) as writing:
        writing.wait_for_a_beginning()
        done = migrate(source, target)
        for thread in writing.threads:  # each ends when it is refused
            thread.join(DEADLINE_SECONDS)
            assert not thread.is_alive()

        assert writing.faults == []
        assert done.comparison.alike
        found = runs_of(target)
        for name, points in writing.acknowledged.items():
            assert len(found[name]) == points
        moved = objects_of(target)
        for name, content in writing.objects.items():
            assert moved[name] == content

        # The source still answers, and says where to go.
        assert writing.store.catalog.find(Tensorboard, f"{PLACE}/tensorboards/1") is not None
        with pytest.raises(errors.Unavailable, match="was moved to"):
            writing.store.catalog.create(Tensorboard(name=f"{PLACE}/tensorboards/2"))
        release(source)
        writing.store.catalog.create(Tensorboard(name=f"{PLACE}/tensorboards/2"))
