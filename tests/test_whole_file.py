"""Files that are there whole or not at all."""

import stat
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tensordeck.whole_file import PRIVATE, PUBLIC, write_whole


@pytest.mark.parametrize("keep", [False, True])
def test_many_may_write_the_same_file_at_once(tmp_path, keep):
    file = tmp_path / "shared"
    contents = [str(number).encode() * 100_000 for number in range(8)]
    together = threading.Barrier(len(contents))

    def write(content: bytes) -> bytes:
        together.wait()
        write_whole(file, content, keep=keep)
        return file.read_bytes()

    with ThreadPoolExecutor(len(contents)) as threads:
        seen = list(threads.map(write, contents))

    assert set(seen) <= set(contents)
    assert file.read_bytes() in contents
    if keep:
        assert len(set(seen)) == 1
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("mode", [PRIVATE, PUBLIC])
@pytest.mark.parametrize("durable", [False, True])
def test_a_file_has_the_mode_that_was_asked_for(tmp_path, mode, durable):
    write_whole(tmp_path / "file", b"", mode, durable=durable)

    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    (tmp_path / "file" / "inner").mkdir(parents=True)

    with pytest.raises(OSError, match="file"):
        write_whole(tmp_path / "file", b"content")

    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
