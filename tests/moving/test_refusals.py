"""What moves refuse: in one line that names what is wrong, with nothing changed."""

import io
import resource
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tensordeck import errors
from tensordeck.moving.archive import open_archive
from tensordeck.moving.backup import back_up, check_backup, restore
from tensordeck.moving.manifest import Manifest
from tensordeck.moving.migration import migrate
from tensordeck.settings import Settings
from tensordeck.store import open_store
from tensordeck.store.resources import Bucket, Credential, StoredObject, Tensorboard
from tests.moving.conftest import NewPlace
from tests.moving.inventory import inventory
from tests.postgres_server import PostgresServer
from tests.store.samples import PLACE

CONTENT = b"some content that is longer than a few bytes"


@pytest.fixture
def source(new_place: NewPlace) -> Settings:
    """A small store: an instance, an object, the signing secret."""
    place = new_place("sqlite")
    store = open_store(place)
    store.catalog.create(Tensorboard(name=f"{PLACE}/tensorboards/1"))
    store.catalog.create(Bucket(name="bucket"))
    store.blobs.write("ab/" + "0" * 30, iter((CONTENT,)))
    store.catalog.create(
        StoredObject(
            name="bucket/a",
            generation=1,
            size=len(CONTENT),
            crc32c=1,
            blob_key="ab/" + "0" * 30,
        )
    )
    store.catalog.update(StoredObject, "bucket/a", _with_checksum)
    store.catalog.create(Credential(name="server", credential_kind="server", secret=b"sesame"))
    store.close()
    return place


def _with_checksum(found: StoredObject) -> StoredObject:
    import google_crc32c
    from msgspec.structs import replace

    return replace(found, crc32c=google_crc32c.value(CONTENT))


@pytest.fixture
def backup(source: Settings, tmp_path: Path) -> Path:
    """A backup of it."""
    path = tmp_path / "x.tar"
    back_up(source, str(path))
    return path


@hypothesis_settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_flipped_byte_is_found_before_anything_is_written(
    source: Settings, backup: Path, new_place: NewPlace, data: st.DataObject
) -> None:
    whole = backup.read_bytes()
    used = [range(512, 512 + len(whole[512:65536].rstrip(b" ")))]
    manifest = open_archive(str(backup)).manifest
    parts = [manifest.database, *manifest.files]
    used += [range(part.position, part.position + part.size) for part in parts]
    at = whole.index(CONTENT)
    used.append(range(at, at + len(CONTENT)))
    position = data.draw(st.sampled_from(used).flatmap(st.sampled_from))
    altered = bytearray(whole)
    altered[position] ^= data.draw(st.integers(1, 255))
    damaged = backup.with_name("damaged.tar")
    damaged.write_bytes(altered)
    target = new_place("sqlite")

    with pytest.raises((errors.DataLoss, errors.FailedPrecondition), match="damaged") as caught:
        restore(str(damaged), target)

    assert "\n" not in str(caught.value)
    assert not target.data_dir.exists()


@pytest.mark.parametrize("part", ["manifest.json", "tensordeck.db.zst", "blobs/ab/" + "0" * 30])
def test_a_backup_in_an_object_store_is_checked_as_well(
    source: Settings, tmp_path: Path, new_place: NewPlace, part: str
) -> None:
    folder = tmp_path / "backups"
    back_up(source, folder.as_uri())
    check_backup(folder.as_uri())
    (folder / part).write_bytes((folder / part).read_bytes()[:-3] + b"xyz")
    with pytest.raises((errors.DataLoss, errors.FailedPrecondition), match="damaged"):
        restore(folder.as_uri(), new_place("sqlite"))
    (folder / part).unlink()
    with pytest.raises((errors.DataLoss, errors.FailedPrecondition)):
        restore(folder.as_uri(), new_place("sqlite"))


def test_a_file_that_was_cut_off_is_refused(backup: Path, new_place: NewPlace) -> None:
    whole = backup.read_bytes()
    manifest = open_archive(str(backup)).manifest
    backup.write_bytes(whole[: manifest.database.position + manifest.database.size - 1])

    with pytest.raises(errors.DataLoss, match="damaged"):
        restore(str(backup), new_place("sqlite"))


@pytest.mark.parametrize("content", [b"", b"x" * 100_000, b"{}", b"[]"])
def test_something_else_than_a_backup_is_refused(
    tmp_path: Path, new_place: NewPlace, content: bytes
) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(b"\0" * 512 + content)

    with pytest.raises(errors.FailedPrecondition, match="no backup"):
        restore(str(path), new_place("sqlite"))


def test_a_backup_of_a_newer_version_is_refused(backup: Path, new_place: NewPlace) -> None:
    manifest = open_archive(str(backup)).manifest
    import dataclasses

    newer = dataclasses.replace(manifest, schema="9999", version="99.0")
    content = bytearray(backup.read_bytes())
    content[512:66048] = newer.to_json().ljust(65536)
    backup.write_bytes(content)

    with pytest.raises(errors.FailedPrecondition, match=r"newer version.*99\.0"):
        restore(str(backup), new_place("sqlite"))


def test_a_manifest_of_a_newer_format_is_refused() -> None:
    import hashlib
    import json

    content = {"format": 99, "version": "9.0"}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    data = json.dumps({**content, "sha256": digest}).encode()

    with pytest.raises(errors.FailedPrecondition, match="newer version"):
        Manifest.from_json(data, "x.tar")


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.heavy)])
def test_nothing_is_written_where_something_is(
    source: Settings, backup: Path, new_place: NewPlace, kind: str
) -> None:
    taken = new_place(kind)
    store = open_store(taken)
    store.catalog.create(Tensorboard(name=f"{PLACE}/tensorboards/7"))
    store.close()
    before = inventory(taken)

    for move in (lambda: migrate(source, taken), lambda: restore(str(backup), taken)):
        with pytest.raises(errors.FailedPrecondition, match="not empty: it holds 1 tensorboards"):
            move()

    assert inventory(taken) == before
    store = open_store(source)
    store.catalog.create(Tensorboard(name=f"{PLACE}/tensorboards/8"))  # no write stop was left
    store.close()


def test_nothing_is_written_beside_blobs_of_somebody_else(
    source: Settings, new_place: NewPlace
) -> None:
    target = new_place("sqlite")
    (target.data_dir / "blobs" / "ab").mkdir(parents=True)
    (target.data_dir / "blobs" / "ab" / "cd").write_bytes(b"x")

    with pytest.raises(errors.FailedPrecondition, match="objects lie there already"):
        migrate(source, target)


def test_no_backup_overwrites_another(source: Settings, backup: Path, tmp_path: Path) -> None:
    before = backup.read_bytes()
    folder = (tmp_path / "backups").as_uri()
    back_up(source, folder)

    for target in (str(backup), folder):
        with pytest.raises(errors.FailedPrecondition, match=r"exists already|already; name"):
            back_up(source, target)

    assert backup.read_bytes() == before


def test_a_place_without_a_store_is_no_source(tmp_path: Path, new_place: NewPlace) -> None:
    with pytest.raises(errors.FailedPrecondition, match="There is no store"):
        back_up(new_place("sqlite"), str(tmp_path / "x.tar"))

    assert list(tmp_path.iterdir()) == []


def test_content_that_was_lost_before_is_told_and_the_rest_is_kept(
    source: Settings, tmp_path: Path, new_place: NewPlace
) -> None:
    (source.data_dir / "blobs" / "ab" / ("0" * 30)).unlink()
    file = str(tmp_path / "x.tar")

    manifest = back_up(source, file)
    done = restore(file, new_place("sqlite"))

    assert manifest.lost == "1 objects whose content is not there (e.g. gs://bucket/a)"
    assert done.losses.missing == ["gs://bucket/a"]
    moved = migrate(source, new_place("sqlite"))
    assert moved.losses.missing == ["gs://bucket/a"]


def test_a_backup_is_for_its_owner_alone_and_any_tar_unpacks_it(backup: Path) -> None:
    assert backup.stat().st_mode & 0o777 == 0o600
    with tarfile.open(fileobj=io.BytesIO(backup.read_bytes())) as tar:
        assert tar.getnames() == ["manifest.json", "blobs/ab/" + "0" * 30, "tensordeck.db.zst"]
        assert all(member.mode == 0o600 for member in tar)
        content = tar.extractfile("blobs/ab/" + "0" * 30)
        assert content is not None
        assert content.read() == CONTENT


def test_credentials_can_be_left_out(source: Settings, tmp_path: Path, new_place: NewPlace) -> None:
    (source.data_dir / "credentials").mkdir()
    (source.data_dir / "credentials" / "owner.json").write_text("{}")
    (source.data_dir / "tls").mkdir()
    (source.data_dir / "tls" / "ca-key.pem").write_text("a key")
    target = new_place("sqlite")
    file = tmp_path / "x.tar"

    back_up(source, str(file), without_credentials=True)
    restore(str(file), target)

    assert b"sesame" not in file.read_bytes()
    assert not (target.data_dir / "credentials").exists()
    assert not (target.data_dir / "tls").exists()
    assert "credentials server" not in inventory(target)
    assert f"tensorboards {PLACE}/tensorboards/1" in inventory(target)


def test_a_full_disk_is_told_in_one_line_and_leaves_nothing(
    source: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "backups" / "x.tar"
    file.parent.mkdir()

    ended = subprocess.run(
        [
            *(sys.executable, "-m", "tensordeck", "backup", str(file)),
            *("--data-dir", str(source.data_dir)),
        ],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
    )

    assert ended.returncode == 1
    assert ended.stderr.startswith("tensordeck: There is no room for the backup")
    assert ended.stderr.count("\n") == 1
    assert list(file.parent.iterdir()) == []


@pytest.mark.heavy
def test_a_password_that_is_refused_is_not_shown(
    postgres: PostgresServer, source: Settings, tmp_path: Path
) -> None:
    url = f"postgresql://nobody:sesame@127.0.0.1:{postgres.port}/nowhere"
    target = Settings(database_url=url, data_dir=tmp_path / "x")

    with pytest.raises(errors.FailedPrecondition) as caught:
        migrate(source, target)

    assert "nobody" in str(caught.value)
    assert "sesame" not in str(caught.value)
