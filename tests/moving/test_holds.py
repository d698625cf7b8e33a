"""While a backup reads blobs none is deleted, by whatever server."""

import os
from pathlib import Path

import pytest

from tensordeck import errors
from tensordeck.moving.migration import migrate
from tensordeck.services.storage import StorageService
from tensordeck.settings import Settings
from tensordeck.store import open_store
from tensordeck.store.blobs import new_key, open_blobs


def test_nothing_is_deleted_while_a_store_is_held(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    ours, theirs = open_blobs(settings), open_blobs(settings)
    key = new_key()
    ours.write(key, iter((b"x",)))

    with ours.held():
        theirs.delete([key])
        assert b"".join(theirs.read(key)) == b"x"
        assert [found for found, _ in theirs.keys()] == [key]  # noqa: SIM118 -- no mapping
    theirs.delete([key])

    assert list(theirs.keys()) == []


def test_the_hold_of_a_process_that_was_killed_ends(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    blobs = open_blobs(settings)
    key = new_key()
    blobs.write(key, iter((b"x",)))
    hold = tmp_path / "blobs" / "holds" / "left"
    hold.parent.mkdir()
    hold.write_text("held\n")
    blobs.delete([key])
    assert [found for found, _ in blobs.keys()] == [key]  # noqa: SIM118 -- no mapping
    os.utime(hold, (0, 0))

    blobs.delete([key])

    assert list(blobs.keys()) == []
    assert not hold.exists()


def test_a_store_that_was_moved_sweeps_nothing_of_the_one_it_shares_blobs_with(
    tmp_path: Path,
) -> None:
    objects = tmp_path / "objects"
    objects.mkdir()
    old, new = (
        Settings(data_dir=tmp_path / name, object_store=objects.as_uri()) for name in ("old", "new")
    )
    open_store(old).close()
    migrate(old, new)
    key = new_key()
    open_blobs(new).write(key, iter((b"x",)))
    store = open_store(old)

    with pytest.raises(errors.Unavailable, match="was moved to"):
        StorageService(store).sweep(0)

    assert b"".join(store.blobs.read(key)) == b"x"
    store.close()
    store = open_store(new)
    assert StorageService(store).sweep(0) == 1
    store.close()
