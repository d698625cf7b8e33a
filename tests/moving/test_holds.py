"""While a backup reads blobs none is deleted, by whatever server."""

import os
from pathlib import Path

from tensordeck.settings import Settings
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
