"""The blob store: what is acknowledged is whole, what failed is not there, orphans go."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tensordeck.errors import FailedPrecondition, InvalidArgument, NotFound
from tensordeck.settings import Settings
from tensordeck.store.blobs import PIECE, new_key, open_blobs, sweep_orphans
from tensordeck.store.contract import Blobs, Catalog
from tensordeck.store.resources import Bucket, StoredObject, UploadSession
from tests.s3_server import S3Server


@pytest.fixture(params=["data_dir", "file_url", "memory", "s3"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Blobs:
    """An empty blob store of each kind that runs here."""
    if request.param == "s3":
        s3: S3Server = request.getfixturevalue("s3")
        for name, value in s3.environ().items():
            monkeypatch.setenv(name, value)
        return open_blobs(Settings(object_store=f"s3://{s3.make_bucket()}/some/prefix"))
    (tmp_path / "mounted").mkdir()
    return open_blobs(
        {
            "data_dir": Settings(data_dir=tmp_path / "data"),
            "file_url": Settings(object_store=f"file://{tmp_path}/mounted"),
            "memory": Settings(object_store="memory:///"),
        }[request.param]
    )


def stored(blobs: Blobs) -> set[str]:
    return {key for key, _age in blobs.keys()}  # noqa: SIM118 -- no mapping


def test_written_bytes_come_back(blobs: Blobs) -> None:
    key = new_key()
    assert blobs.write(key, iter([b"ab", b"", b"cd"])) == 4
    assert b"".join(blobs.read(key)) == b"abcd"
    assert stored(blobs) == {key}


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 17])
def test_any_size(blobs: Blobs, size: int) -> None:
    data = os.urandom(size)
    key = new_key()
    pieces = (data[start : start + 100_000] for start in range(0, size, 100_000))
    assert blobs.write(key, pieces) == size
    assert b"".join(blobs.read(key)) == data
    assert b"".join(blobs.read(key, size // 2)) == data[size // 2 :]


@given(
    data=st.binary(min_size=1, max_size=50), ends=st.tuples(st.integers(0, 50), st.integers(0, 50))
)
@hypothesis_settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_ranges_are_slices(blobs: Blobs, data: bytes, ends: tuple[int, int]) -> None:
    start, end = (min(place, len(data)) for place in ends)
    key = new_key()
    blobs.write(key, iter([data]))
    assert b"".join(blobs.read(key, start, end)) == data[start:end]


def test_a_blob_may_be_written_from_another(blobs: Blobs) -> None:
    first, second = new_key(), new_key()
    blobs.write(first, iter([b"x" * (2 * PIECE)]))
    blobs.write(second, blobs.read(first))
    assert b"".join(blobs.read(second)) == b"x" * (2 * PIECE)


@pytest.mark.parametrize("size", [10, 3 * PIECE])
def test_a_write_that_fails_leaves_nothing(blobs: Blobs, size: int, tmp_path: Path) -> None:
    class LostError(Exception):
        pass

    def broken() -> Iterator[bytes]:
        yield b"x" * size
        raise LostError

    with pytest.raises(LostError):
        blobs.write(new_key(), broken())
    assert stored(blobs) == set()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_missing(blobs: Blobs) -> None:
    with pytest.raises(NotFound, match="ab/cdef"):
        blobs.read("ab/cdef")
    with pytest.raises(NotFound):
        blobs.read("ab/cdef", 0, 5)
    blobs.delete(["ab/cdef", new_key()])


def test_deletion_does_not_disturb_a_reader(tmp_path: Path) -> None:
    blobs = open_blobs(Settings(data_dir=tmp_path))
    key = new_key()
    blobs.write(key, iter([b"x" * (3 * PIECE)]))
    reader = blobs.read(key)
    blobs.delete([key])
    assert sum(len(chunk) for chunk in reader) == 3 * PIECE
    assert stored(blobs) == set()


def test_many_writers(blobs: Blobs) -> None:
    keys = [new_key() for _ in range(16)]
    writers = [
        threading.Thread(target=blobs.write, args=(key, iter([key.encode()] * 1000)))
        for key in keys
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert all(b"".join(blobs.read(key)) == key.encode() * 1000 for key in keys)


@pytest.mark.parametrize("url", ["nonsense", "ftp://x/y", "s3://"])
def test_a_bad_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidArgument, match="object-store"):
        open_blobs(Settings(object_store=url))


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "blobs").touch()
    with pytest.raises(FailedPrecondition, match="blobs"):
        open_blobs(Settings(data_dir=tmp_path))


def test_sweep_removes_only_orphans(catalog: Catalog, tmp_path: Path) -> None:
    blobs = open_blobs(Settings(data_dir=tmp_path / "blobs-here"))
    of_object, of_upload, orphan = new_key(), new_key(), new_key()
    for key in (of_object, of_upload, orphan, "elsewhere/of-another-part"):
        blobs.write(key, iter([b"x"]))
    catalog.create(Bucket(name="bucket"))
    catalog.create(StoredObject(name="bucket/o", generation=1, size=1, blob_key=of_object))
    catalog.create(UploadSession(name="u", object_name="bucket/p", parts=(of_upload,)))

    assert sweep_orphans(catalog, blobs, older_than_s=3600) == 0
    assert sweep_orphans(catalog, blobs, older_than_s=0) == 1

    assert stored(blobs) == {of_object, of_upload, "elsewhere/of-another-part"}


WRITER = """
import sys
from pathlib import Path
from tensordeck.settings import Settings
from tensordeck.store.blobs import PIECE, open_blobs
def pieces():
    yield b"x" * (2 * PIECE)
    print("under way", flush=True)
    sys.stdin.read()
    yield b"x"
settings = Settings(data_dir=Path(sys.argv[1]), object_store=sys.argv[2])
open_blobs(settings).write("ab/" + "0" * 30, pieces())
"""


def kill_a_writer(tmp_path: Path, object_store: str = "", **environ: str) -> None:
    """Kills a process in the middle of a large write."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path), object_store],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **environ},
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"under way\n"
    writer.kill()
    writer.communicate()


def test_a_killed_write_to_s3_is_never_seen_and_is_swept(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.environ().items():
        monkeypatch.setenv(name, value)
    bucket = s3.make_bucket()
    kill_a_writer(tmp_path, f"s3://{bucket}/of/ours")
    kill_a_writer(tmp_path, f"s3://{bucket}/of/others")
    blobs = open_blobs(Settings(object_store=f"s3://{bucket}/of/ours"))
    assert len(s3.unfinished_uploads(bucket)) == 2

    assert stored(blobs) == set()
    with pytest.raises(NotFound):
        blobs.read("ab/" + "0" * 30)
    assert blobs.discard_unfinished(older_than_s=3600) == 0
    assert blobs.discard_unfinished(older_than_s=-1) == 1

    assert len(s3.unfinished_uploads(bucket)) == 1


def test_a_killed_write_is_never_seen_and_is_swept(catalog: Catalog, tmp_path: Path) -> None:
    kill_a_writer(tmp_path)

    blobs = open_blobs(Settings(data_dir=tmp_path))

    assert stored(blobs) == set()
    with pytest.raises(NotFound):
        blobs.read("ab/" + "0" * 30)
    sweep_orphans(catalog, blobs, older_than_s=0)
    assert [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()] == []
