"""Files of a folder that somebody else writes, who would like us to read or write elsewhere."""

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tensordeck.confined import find_files, open_for_reading, open_parent


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with a file two folders down, beside a secret."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_bytes(b"secret")
    root = tmp_path / "root"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "key").write_bytes(b"public")
    return root


def read(root: Path, name: str) -> bytes:
    with os.fdopen(open_for_reading(root, name), "rb") as file:
        return file.read()


def names(root: Path) -> dict[str, str]:
    return {found.name: found.target for found in find_files(root)}


def test_what_is_below_is_found_and_read(root):
    assert names(root) == {"a/b/key": "a/b/key"}
    assert read(root, "a/b/key") == b"public"


def test_the_folder_itself_may_be_reached_by_a_link(root, tmp_path):
    (tmp_path / "link").symlink_to(root)
    assert names(tmp_path / "link") == {"a/b/key": "a/b/key"}
    assert read(tmp_path / "link", "a/b/key") == b"public"


@pytest.mark.parametrize("replaced", ["a", "a/b", "a/b/key"])
def test_what_was_found_is_not_read_once_a_link_is_on_the_way(root, tmp_path, replaced):
    (found,) = find_files(root)
    (root / replaced).rename(tmp_path / "aside")
    secret = {"a": "secret-a", "a/b": "secret", "a/b/key": "secret/key"}[replaced]
    (tmp_path / "secret-a").mkdir()
    (tmp_path / "secret-a" / "b").symlink_to(tmp_path / "secret")
    (root / replaced).symlink_to(tmp_path / secret)
    assert (root / found.name).read_bytes() == b"secret"

    with pytest.raises(OSError, match=r"symbolic links|Not a directory"):
        open_for_reading(root, found.target)
    with (
        pytest.raises(OSError, match=r"symbolic links|Not a directory"),
        open_parent(root, f"{found.name}/new", make=True),
    ):
        pass


def test_links_to_files_of_the_same_folder_only(root, tmp_path):
    (root / "good").symlink_to("a/b/key")
    (root / "a" / "up").symlink_to("../good")
    (root / "folder").symlink_to("a")
    (root / "absolute").symlink_to(root / "a" / "b" / "key")
    (root / "out").symlink_to(tmp_path / "secret" / "key")
    (root / "dots").symlink_to("../secret/key")
    (root / "loop").symlink_to("loop")
    (root / "gone").symlink_to("nothing")
    (tmp_path / "root-2").mkdir()
    (tmp_path / "root-2" / "key").write_bytes(b"secret")
    (root / "sibling").symlink_to("../root-2/key")

    target = "a/b/key"
    assert names(root) == {
        target: target,
        "a/up": target,
        "absolute": target,
        "good": target,
    }


def test_what_is_no_file_is_left_alone(root):
    os.mkfifo(root / "pipe")

    assert "pipe" not in names(root)
    with pytest.raises(OSError, match="pipe"):
        open_for_reading(root, "pipe")
    with pytest.raises(OSError, match="a/b"):
        open_for_reading(root, "a/b")


def test_a_folder_that_is_not_there_is_empty(tmp_path):
    assert names(tmp_path / "none") == {}


def test_folders_nested_as_deep_as_the_system_lets_them(tmp_path):
    deep = tmp_path / "root"
    deep.mkdir()
    folder = os.open(deep, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=folder)
        inner = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(folder)
    (deep / "file").write_bytes(b"x")

    try:
        assert names(deep) == {"file": "file"}
    finally:  # it is too deep for pytest to remove
        subprocess.run(["rm", "-rf", deep], check=True)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(st.sampled_from(["a", "b", "key", "", ".", "..", "x"]), min_size=1))
def test_no_path_leads_out(root, parts):
    name = "/".join(parts)
    try:
        with open_parent(root, name) as (folder, _):
            where = str(Path(f"/proc/self/fd/{folder}").readlink())
    except OSError:
        return
    assert where == str(root) or where.startswith(f"{root}/")


def test_missing_folders_are_made_on_request(root):
    with pytest.raises(FileNotFoundError), open_parent(root, "n/e/w"):
        pass
    with open_parent(root, "n/e/w", make=True) as (folder, last):
        os.close(os.open(last, os.O_CREAT | os.O_WRONLY, dir_fd=folder))
    assert (root / "n" / "e" / "w").is_file()
