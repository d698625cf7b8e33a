"""Whatever is in a store comes out of a move, wherever it goes."""

import dataclasses
import os
import shutil
import uuid
from pathlib import Path

import google_crc32c
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tensordeck import errors
from tensordeck.moving.backup import back_up, check_backup, restore
from tensordeck.moving.migration import migrate
from tensordeck.moving.verification import verify
from tensordeck.settings import Settings
from tensordeck.store import open_store
from tensordeck.store.blobs import PIECE, new_key
from tensordeck.store.resources import Bucket, StoredObject, Tensorboard
from tests.moving.conftest import NewPlace
from tests.moving.furniture import furnish
from tests.moving.inventory import inventory
from tests.s3_server import S3Server
from tests.store.samples import PLACE

QUICK = hypothesis_settings(
    max_examples=2,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
LONG = hypothesis_settings(QUICK, max_examples=8)


def _furnished(place: Settings, data: st.DataObject) -> dict[str, object]:
    store = open_store(place)
    furnish(store, data)
    store.close()
    return inventory(place)


@QUICK
@given(data=st.data())
def test_a_store_is_the_same_after_backup_restore_and_migration(
    new_place: NewPlace, tmp_path: Path, data: st.DataObject
) -> None:
    first, second, third = (new_place("sqlite") for _ in range(3))
    content = _furnished(first, data)
    file = tmp_path / f"{uuid.uuid4()}.tar"

    back_up(first, str(file))
    check_backup(str(file))
    assert restore(str(file), second).comparison.alike
    assert inventory(second) == content
    migrate(second, third)
    assert inventory(third) == content
    assert verify(third).damage == []
    assert inventory(first) == content


@pytest.mark.heavy
@pytest.mark.timeout(900)
@LONG
@given(data=st.data())
def test_a_store_is_the_same_after_a_stay_in_postgresql(
    new_place: NewPlace, tmp_path: Path, data: st.DataObject
) -> None:
    first, second, third, fourth = (
        new_place(kind) for kind in ("sqlite", "postgresql", "sqlite", "postgresql")
    )
    content = _furnished(first, data)

    migrate(first, second)
    assert inventory(second) == content
    assert verify(second).damage == []
    migrate(second, third)
    assert inventory(third) == content
    folder = tmp_path / str(uuid.uuid4())
    back_up(second, folder.as_uri())
    restore(folder.as_uri(), fourth)
    assert inventory(fourth) == content
    for place in (first, second, third, fourth):
        shutil.rmtree(place.data_dir)


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.heavy)])
def test_no_number_is_given_out_again_after_a_move(new_place: NewPlace, kind: str) -> None:
    first, second = new_place("sqlite"), new_place(kind)
    store = open_store(first)
    last = [
        store.catalog.create(Tensorboard(name=f"{PLACE}/tensorboards/{n}")).pk for n in range(3)
    ][-1]
    store.catalog.delete(Tensorboard, f"{PLACE}/tensorboards/2")
    store.close()

    migrate(first, second)

    store = open_store(second)
    assert store.catalog.create(Tensorboard(name=f"{PLACE}/tensorboards/2")).pk > last
    store.close()


@pytest.mark.heavy
def test_blobs_and_backups_may_lie_in_s3(
    new_place: NewPlace, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.environ().items():
        monkeypatch.setenv(name, value)
    bucket = f"s3://{s3.make_bucket()}"
    first, second, third = (new_place("sqlite") for _ in range(3))
    second = dataclasses.replace(second, object_store=f"{bucket}/objects")
    contents = [b"", b"small", os.urandom(3 * PIECE + 17)]
    store = open_store(first)
    store.catalog.create(Bucket(name="bucket"))
    for number, content in enumerate(contents):
        key = new_key()
        store.blobs.write(key, iter((content,)))
        store.catalog.create(
            StoredObject(
                name=f"bucket/{number}",
                generation=1,
                size=len(content),
                crc32c=google_crc32c.value(content),
                blob_key=key,
            )
        )
    store.close()
    content = inventory(first)

    done = migrate(first, second)
    assert done.blobs == len(contents)
    assert inventory(second) == content
    manifest = back_up(second, f"{bucket}/backups/monday")
    assert manifest.blobs == len(contents)
    check_backup(f"{bucket}/backups/monday")
    restore(f"{bucket}/backups/monday", third)
    assert inventory(third) == content
    with pytest.raises(errors.FailedPrecondition, match="not empty: objects lie there"):
        migrate(third, dataclasses.replace(new_place("sqlite"), object_store=f"{bucket}/objects"))
    with pytest.raises(errors.FailedPrecondition, match="There is a backup"):
        back_up(second, f"{bucket}/backups/monday")

    # To another database beside the same objects, they stay where they are.
    fourth = dataclasses.replace(new_place("sqlite"), object_store=f"{bucket}/objects/")
    assert migrate(second, fourth).blobs is None
    assert inventory(fourth) == content
