"""Staging between a real object store and a job's folder."""

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tensordeck.access import Access, Caller, open_access
from tensordeck.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from tensordeck.jobs.staging import Staging
from tensordeck.services.storage import StorageService
from tensordeck.services.storage_listing import walk
from tensordeck.services.storage_names import object_name
from tensordeck.settings import Settings
from tensordeck.store import Store, open_store

BUCKET = "staging-bucket"
JOB = Caller("job@project.iam.gserviceaccount.com", "key")


class Place:
    """A store with a bucket, and jobs' folders beside it."""

    def __init__(self, store: Store, settings: Settings, folder: Path) -> None:
        self.store = store
        self.storage = StorageService(store)
        self.storage.create_bucket(BUCKET, "p")
        self.access = open_access(store.catalog, settings)
        self.folder = folder
        self.warnings: list[str] = []

    def staging(self, attempt: str = "1") -> Staging:
        folder = self.folder / attempt
        folder.mkdir(exist_ok=True)
        return Staging(self.storage, self.access, JOB, folder, self.warnings.append)

    def put(self, name: str, content: bytes) -> int:
        return self.storage.write_object(BUCKET, name, [content]).generation

    def objects(self) -> dict[str, bytes]:
        return {
            object_name(row): b"".join(self.storage.read_object(BUCKET, object_name(row)))
            for row in walk(self.store, BUCKET)
        }

    def generation(self, name: str) -> int:
        return self.storage.objects.get(BUCKET, name).generation


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    settings = Settings(data_dir=tmp_path / "data")
    store = open_store(settings)
    yield Place(store, settings, tmp_path)
    store.close()


def save(path: Path, content: bytes, seconds_ago: float = 60) -> Path:
    """Writes a file that has been at rest for a while."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    then = path.stat().st_mtime - seconds_ago
    os.utime(path, (then, then))
    return path


# Paths


def test_a_folder_stands_for_a_uri(place):
    staging = place.staging()
    folder = staging.make_folder(f"gs://{BUCKET}/aiplatform-custom-job-2026-11-23-07:54:13/model/")

    assert folder == staging.root / BUCKET / "aiplatform-custom-job-2026-11-23-07:54:13" / "model"
    assert folder.is_dir()
    assert staging.path_of(f"gs://{BUCKET}") == staging.root / BUCKET


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "gs://",
        "gs:///x",
        "gs://UPPER/x",
        "gs://../x",
        f"gs://{BUCKET}/..",
        f"gs://{BUCKET}/a/../b",
        f"gs://{BUCKET}/a//b",
        f"gs://{BUCKET}//a",
        f"gs://{BUCKET}/a\nb",
        f"gs://{BUCKET}/{'a' * 300}",
    ],
)
def test_a_uri_that_no_folder_can_stand_for_is_refused(place, uri):
    with pytest.raises(InvalidArgument):
        place.staging().path_of(uri)


# Packages


def test_packages_are_fetched_under_their_own_names(place, tmp_path):
    place.put("a/aiplatform-2026-11-23-07:54:13.123-trainer-0.1.tar.gz", b"one")
    place.put("b/same.whl", b"two")
    place.put("c/same.whl", b"three")
    uris = [
        f"gs://{BUCKET}/{name}"
        for name in (
            "a/aiplatform-2026-11-23-07:54:13.123-trainer-0.1.tar.gz",
            "b/same.whl",
            "c/same.whl",
        )
    ]

    paths = place.staging().fetch(uris, tmp_path / "packages")

    assert [path.name for path in paths] == [uri.rpartition("/")[2] for uri in uris]
    assert [path.read_bytes() for path in paths] == [b"one", b"two", b"three"]


@pytest.mark.parametrize("uri", [f"gs://{BUCKET}/none.tar.gz", "gs://no-such-bucket/x.tar.gz"])
def test_a_package_that_is_not_there_is_named(place, tmp_path, uri):
    with pytest.raises(NotFound, match=uri):
        place.staging().fetch([uri], tmp_path / "packages")


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "x",
        "gs://",
        f"gs://{BUCKET}",
        f"gs://{BUCKET}/folder/",
        f"gs://{BUCKET}/a/..",
        "s3://b/o",
    ],
)
def test_what_is_no_package_is_refused(place, tmp_path, uri):
    with pytest.raises(InvalidArgument):
        place.staging().fetch([uri], tmp_path / "packages")


def test_a_folder_that_cannot_be_written_is_told(place, tmp_path):
    place.put("p.tar.gz", b"x")
    (tmp_path / "file").touch()
    with pytest.raises(FailedPrecondition, match=r"p\.tar\.gz"):
        place.staging().fetch([f"gs://{BUCKET}/p.tar.gz"], tmp_path / "file")


# Down


def test_only_what_is_asked_for_comes_down(place):
    for name in ("out/checkpoints/1", "out/checkpoints/deep/2", "out/checkpoints-old/3", "other"):
        place.put(name, name.encode())
    staging = place.staging()

    assert staging.down(f"gs://{BUCKET}/out/checkpoints") == 2
    assert staging.down(f"gs://{BUCKET}/other") == 1
    assert staging.down(f"gs://{BUCKET}/nothing/") == 0
    assert staging.down("gs://no-such-bucket/x") == 0

    found = {str(p.relative_to(staging.root)) for p in staging.root.rglob("*") if p.is_file()}
    assert found == {
        f"{BUCKET}/out/checkpoints/1",
        f"{BUCKET}/out/checkpoints/deep/2",
        f"{BUCKET}/other",
    }
    assert staging.up().objects == 0


def test_a_changed_local_file_is_not_overwritten(place):
    place.put("state", b"remote")
    staging = place.staging()
    staging.down(f"gs://{BUCKET}/state")
    local = save(staging.root / BUCKET / "state", b"local")

    assert staging.down(f"gs://{BUCKET}/state") == 0

    assert local.read_bytes() == b"local"
    assert staging.up().objects == 1
    assert place.objects() == {"state": b"local"}


def test_objects_that_no_path_can_stand_for_are_left_out(place):
    for name in ("a/../../../escape", "b//c", "/d", "e/./f", "g/", "h" * 300, "i", "i/j", "k:l m"):
        place.put(name, b"x")
    staging = place.staging()

    staging.down(f"gs://{BUCKET}")

    found = {
        str(p.relative_to(staging.root / BUCKET)) for p in staging.root.rglob("*") if p.is_file()
    }
    assert found in ({"i", "k:l m"}, {"i/j", "k:l m"})
    assert not list(place.folder.rglob("escape"))
    assert len(place.warnings) == 6


def test_nothing_is_written_through_a_link(place, tmp_path):
    place.put("checkpoints/1", b"new")
    outside = tmp_path / "outside"
    save(outside / "1", b"old")
    staging = place.staging()
    (staging.root / BUCKET).mkdir(parents=True)
    (staging.root / BUCKET / "checkpoints").symlink_to(outside)

    assert staging.down(f"gs://{BUCKET}/checkpoints") == 0

    assert (outside / "1").read_bytes() == b"old"
    assert len(place.warnings) == 1


# Up


def test_new_and_changed_files_go_up_once(place):
    staging = place.staging()
    model = staging.root / BUCKET / "out" / "model"
    save(model / "saved_model.pb", b"graph")
    save(model / "variables" / "v", b"")
    (model / "empty").mkdir()

    assert staging.up().objects == 2
    assert place.objects() == {"out/model/saved_model.pb": b"graph", "out/model/variables/v": b""}
    before = place.generation("out/model/variables/v")
    assert staging.up().objects == 0

    save(model / "saved_model.pb", b"other", seconds_ago=30)
    (model / "variables" / "v").unlink()
    done = staging.up()
    assert (done.objects, done.bytes) == (1, 5)
    assert place.objects()["out/model/saved_model.pb"] == b"other"
    assert place.generation("out/model/variables/v") == before


def test_a_restart_uploads_nothing_again(place):
    first = place.staging()
    save(first.root / BUCKET / "a", b"x")
    first.up()

    assert place.staging().up().objects == 0


@pytest.mark.parametrize("memory", [b"", b"[]", b'{"version": 1, "files": 3}', b"\xff"])
def test_a_lost_memory_costs_one_upload(place, memory):
    first = place.staging()
    save(first.root / BUCKET / "a", b"x")
    first.up()
    (first.root.parent / "gcs.json").write_bytes(memory)

    assert place.staging().up().objects == 1
    assert place.objects() == {"a": b"x"}


def test_a_large_file_goes_up_whole(place):
    staging = place.staging()
    content = os.urandom(12_000_000)
    save(staging.root / BUCKET / "large.bin", content)

    assert staging.up().bytes == len(content)
    assert place.objects() == {"large.bin": content}


def test_odd_names(place):
    staging = place.staging()
    folder = staging.root / BUCKET
    good = ["tab\there", "späß 😀", "a:b", "#hash?q=1", "%2F", " lead", "back\\slash", "x" * 255]
    for name in good:
        save(folder / name, name.encode())
    save(folder / "line\nbreak", b"x")
    save(Path(os.fsdecode(os.fsencode(folder) + b"/no-utf8-\xff")), b"x")
    save(staging.root / "beside-the-buckets", b"x")
    save(staging.root / "UPPER" / "x", b"x")

    done = staging.up()

    assert place.objects() == {name: name.encode() for name in good}
    assert done.failed == {}
    assert len(place.warnings) == 3
    staging.up()
    assert len(place.warnings) == 3


def test_a_bucket_that_is_not_there_fails_its_files_only(place):
    staging = place.staging()
    save(staging.root / "no-such-bucket" / "x", b"x")
    save(staging.root / BUCKET / "y", b"y")

    done = staging.stop()

    assert list(done.failed) == ["gs://no-such-bucket/x"]
    assert place.objects() == {"y": b"y"}
    assert "no-such-bucket" in place.warnings[0]


def test_links_out_of_the_folder_are_not_followed(place, tmp_path):
    staging = place.staging()
    folder = staging.root / BUCKET
    secret = save(tmp_path / "secret" / "key", b"secret")
    save(folder / "last-3.pt", b"weights")
    (folder / "last.pt").symlink_to("last-3.pt")
    (folder / "file").symlink_to(secret)
    (folder / "folder").symlink_to(secret.parent)
    (folder / "up").symlink_to("../../../secret/key")
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("nothing")
    (folder / "parent").symlink_to(".")
    os.mkfifo(folder / "pipe")

    staging.up()

    assert place.objects() == {"last-3.pt": b"weights", "last.pt": b"weights"}


def test_a_file_that_grows_goes_up_whole_in_the_end(place):
    staging = place.staging()
    path = save(staging.root / BUCKET / "log", b"")
    done = threading.Event()

    def grow() -> None:
        with path.open("ab", buffering=0) as file:
            for _ in range(2000):
                file.write(b"line\n")
        done.set()

    writer = threading.Thread(target=grow)
    writer.start()
    while not done.is_set():
        staging.up()
    writer.join()
    staging.stop()

    assert place.objects() == {"log": b"line\n" * 2000}


def test_what_has_settled_goes_up_while_the_job_runs(place):
    staging = place.staging()
    path = save(staging.root / BUCKET / "checkpoint", b"half")

    assert staging.up(settled_only=True).objects == 0
    save(path, b"whole", seconds_ago=30)
    assert staging.up(settled_only=True).objects == 0
    assert staging.up(settled_only=True).objects == 1
    assert place.objects() == {"checkpoint": b"whole"}


def test_it_uploads_by_itself_between_start_and_stop(place):
    staging = place.staging()
    staging.start(period_seconds=0.02)
    save(staging.root / BUCKET / "early", b"x")
    pause = threading.Event()
    while "early" not in place.objects():
        pause.wait(0.02)
    save(staging.root / BUCKET / "late", b"y")

    staging.stop()

    assert place.objects() == {"early": b"x", "late": b"y"}


def test_the_default_bucket_is_made(place):
    staging = place.staging()
    staging.ensure_bucket("gs://my-project-staging/out", "my-project", "us-central1")
    staging.ensure_bucket("gs://my-project-staging/out", "my-project", "us-central1")

    bucket = place.storage.buckets.get("my-project-staging")
    assert (bucket.project, bucket.location) == ("my-project", "US-CENTRAL1")


def test_leaving_uploads_nothing_and_another_goes_on(place):
    staging = place.staging()
    staging.start(period_seconds=3600)
    save(staging.root / BUCKET / "model", b"x")

    staging.leave()

    assert place.objects() == {}
    assert place.staging().stop().objects == 1


def test_a_full_disk_is_told_before_anything_comes_down(place, monkeypatch):
    place.put("large", b"0123456789")
    staging = place.staging()
    usage = shutil.disk_usage(place.folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=9))

    with pytest.raises(FailedPrecondition, match="10 bytes"):
        staging.down(f"gs://{BUCKET}/large")
    assert not staging.path_of(f"gs://{BUCKET}/large").exists()


def test_a_caller_without_rights_gets_nothing(place, tmp_path):
    class Closed(Access):
        def authenticate(self, authorization):
            raise NotImplementedError

        def authenticate_cookie(self, cookie):
            raise NotImplementedError

        def check(self, caller, permission, resource):
            raise PermissionDenied(f"{caller.principal} lacks {permission} on {resource}.")

    place.put("a/package.tar.gz", b"x")
    place.access = Closed()
    staging = place.staging()
    save(staging.root / BUCKET / "new", b"x")

    with pytest.raises(PermissionDenied):
        staging.fetch([f"gs://{BUCKET}/a/package.tar.gz"], tmp_path / "packages")
    with pytest.raises(PermissionDenied):
        staging.down(f"gs://{BUCKET}/a")
    with pytest.raises(PermissionDenied):
        staging.ensure_bucket("gs://another-bucket", "p")
    assert list(staging.up().failed) == [f"gs://{BUCKET}/new"]
