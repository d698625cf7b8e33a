"""The service without its transport: shortcuts, globs, uploads that a kill left half way."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tensordeck.errors import InvalidArgument, NotFound, Unavailable
from tensordeck.services.storage import StorageService
from tensordeck.services.storage_attributes import NO_ATTRIBUTES, NO_CHECKSUMS
from tensordeck.services.storage_conditions import UNCONDITIONAL
from tensordeck.services.storage_glob import Glob
from tensordeck.services.sweeper import Sweeper
from tensordeck.settings import Settings
from tensordeck.store import open_store
from tensordeck.store.resources import UploadSession


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageService]:
    store = open_store(Settings(data_dir=Path(tmp_path_factory.mktemp("store"))))
    yield StorageService(store)
    store.close()


@pytest.fixture
def bucket(service: StorageService) -> Iterator[str]:
    service.create_bucket("the-bucket", "p")
    yield "the-bucket"
    service.delete_prefix("the-bucket", "")


def blob_count(service: StorageService) -> int:
    return sum(1 for _ in service.store.blobs.keys())  # noqa: SIM118 -- no mapping


def test_shortcuts(service: StorageService, bucket: str) -> None:
    assert service.create_bucket(bucket, "other").project == "p"
    before = blob_count(service)
    for number in range(40):
        service.write_object(bucket, f"a/{number}", [b"x" * number])
    service.write_object(bucket, "ab", [b"y"], "text/plain")

    assert b"".join(service.read_object(bucket, "a/7")) == b"x" * 7
    assert service.size_of_prefix(bucket, "a/") == sum(range(40))
    assert service.delete_prefix(bucket, "a/") == 40
    assert service.size_of_prefix(bucket, "") == 1
    assert blob_count(service) == before + 1
    assert service.delete_prefix("no-such-bucket", "") == 0
    assert service.size_of_prefix("no-such-bucket", "") == 0
    with pytest.raises(NotFound):
        service.read_object(bucket, "a/7")


def begin(service: StorageService, bucket: str, name: str) -> str:
    session = service.uploads.start(bucket, name, NO_ATTRIBUTES, UNCONDITIONAL, NO_CHECKSUMS)
    return session.name


@pytest.mark.parametrize("parts", [[b"abcd"], [b"ab", b"cd"]])
@pytest.mark.parametrize("placed", [False, True])
def test_finish_after_a_kill(
    service: StorageService, bucket: str, parts: list[bytes], placed: bool
) -> None:
    """The session's row as it is when a kill came just before or after the object's row."""
    upload = begin(service, bucket, "o")
    place = 0
    for part in parts:
        service.uploads.append(upload, place, [part])
        place += len(part)
    before = service.uploads.get(upload)
    if placed:
        first = service.uploads.finish(upload, 4)
    restored = before.parts if not placed else ()
    service.store.catalog.update(
        UploadSession,
        upload,
        lambda row: replace(row, parts=restored, request={**before.request, "claimed": True}),
    )

    row = service.uploads.finish(upload, 4)

    assert b"".join(service.read_object(bucket, "o")) == b"abcd"
    if placed:
        assert row.generation == first.generation
    assert service.uploads.finish(upload, 4).generation == row.generation
    service.sweep(older_than_s=0)
    assert b"".join(service.read_object(bucket, "o")) == b"abcd"


def test_a_late_finish_never_points_at_a_deleted_blob(service: StorageService, bucket: str) -> None:
    """A kill after the object's row, an overwrite, and only then the client's next try."""
    upload = begin(service, bucket, "o")
    service.uploads.append(upload, 0, [b"abcd"])
    before = service.uploads.get(upload)
    service.uploads.finish(upload, 4)
    service.store.catalog.update(
        UploadSession,
        upload,
        lambda row: replace(row, parts=before.parts, request={**before.request, "claimed": True}),
    )
    service.write_object(bucket, "o", [b"newer"])

    with pytest.raises(NotFound):
        service.uploads.finish(upload, 4)

    assert b"".join(service.read_object(bucket, "o")) == b"newer"


def test_uploads_expire(service: StorageService, bucket: str) -> None:
    before = blob_count(service)
    upload = begin(service, bucket, "o")
    service.uploads.append(upload, 0, [b"abcd"])

    assert service.uploads.expire(3600) == 0
    assert service.uploads.expire(0) >= 1

    assert blob_count(service) == before
    with pytest.raises(NotFound):
        service.uploads.get(upload)


@pytest.mark.parametrize(
    ("glob", "matching", "other"),
    [
        ("a*c", ["ac", "abc"], ["a/c", "abcd", "xabc"]),
        ("**", ["", "a/b/c"], []),
        ("a/**/z", ["a/b/z", "a/b/c/z", "a//z"], ["b/z"]),
        ("a?c", ["abc", "aéc"], ["a/c", "ac"]),
        ("[a-c]1", ["a1", "c1"], ["d1", "/1"]),
        ("[!a]1", ["b1"], ["a1"]),
        ("{one,two}.*", ["one.txt", "two."], ["three.txt"]),
        (r"a\*", ["a*"], ["ab"]),
        (r"\{a", ["{a"], ["a"]),
        ("", [""], ["a"]),
    ],
)
def test_globs(glob: str, matching: list[str], other: list[str]) -> None:
    compiled = Glob(glob)
    assert [name for name in matching if not compiled.matches(name)] == []
    assert [name for name in other if compiled.matches(name)] == []


@pytest.mark.parametrize("glob", ["{a", "x" * 2000, "{a,b}" * 10, "a\\"])
def test_bad_globs(glob: str) -> None:
    with pytest.raises(InvalidArgument):
        Glob(glob)


@given(st.text(st.sampled_from("ab*?/[]{},\\!-"), max_size=12), st.text("ab/", max_size=12))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_glob_compiles_or_is_refused(glob: str, name: str) -> None:
    try:
        compiled = Glob(glob)
    except InvalidArgument:
        return
    assert compiled.matches(name) in (True, False)


def test_a_hostile_glob_is_quick() -> None:
    """Backtracking would take longer than the sun has."""
    assert not Glob("**a" * 300).matches("a" * 299 + "b" * 700)


def test_the_sweeper_sweeps_until_it_is_stopped(tmp_path: Path) -> None:
    swept = [threading.Event(), threading.Event()]
    store = open_store(Settings(data_dir=tmp_path))

    def failing() -> int:
        StorageService(store).sweep()
        swept[0].set()
        raise Unavailable("The disk is away.")  # which ends this sweep, not the sweeper

    def other() -> int:
        swept[1].set()
        return 0

    sweeper = Sweeper({"blobs": failing, "others": other}, first_s=0, period_s=0.01)
    sweeper.start()
    for _ in range(2):
        for event in swept:
            assert event.wait(30)
            event.clear()
    sweeper.stop()
    store.close()
