"""Bytes that the store altered, lost or cut are never served as the object: on disk and in S3."""

import base64
import contextlib
import http.client
import itertools
from collections.abc import Iterator

import google_crc32c
import obstore
import pytest
from obstore.store import LocalStore, ObjectStore

from tensordeck.errors import DataLoss
from tensordeck.store.resources import StoredObject, UploadSession
from tests.s3_server import S3Server
from tests.storage.conftest import Cloud, opened

BUCKET = "integrity"
SMALL, LARGE = 1000, 11 * 2**20
NAMES = (f"o{number}" for number in itertools.count())


@pytest.fixture(scope="module", params=["disk", "s3"])
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Cloud, ObjectStore]]:
    """A server, and what keeps its blobs, to be tampered with."""
    folder = tmp_path_factory.mktemp("integrity")
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        if request.param == "disk":
            cloud = stack.enter_context(opened(folder))
            below: ObjectStore = LocalStore(folder / "blobs")
        else:
            s3: S3Server = request.getfixturevalue("s3")
            for name, value in s3.environ().items():
                patch.setenv(name, value)
            bucket = s3.make_bucket()
            below = s3.bucket(bucket)
            cloud = stack.enter_context(opened(folder, f"s3://{bucket}"))
        cloud.service.create_bucket(BUCKET, "p")
        yield cloud, below


def content(size: int) -> bytes:
    return bytes(range(251)) * (size // 251) + b"x" * (size % 251)


def upload(cloud: Cloud, name: str, size: int) -> str:
    """Uploads an object; returns its blob's key."""
    path = f"/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={name}"
    assert cloud.call("POST", path, content(size)).status == 200
    row = cloud.store.catalog.find(StoredObject, f"{BUCKET}/{name}")
    assert row is not None
    return row.blob_key


def flipped(below: ObjectStore, key: str) -> bytes:
    data = bytearray(obstore.get(below, key).bytes())
    data[len(data) // 2] ^= 1
    return bytes(data)


def tamper(below: ObjectStore, key: str, how: str) -> None:
    """Alters what lies in the store, behind the server's back."""
    if how == "gone":
        obstore.delete(below, key)
        return
    data = flipped(below, key)
    obstore.put(below, key, data if how == "flipped" else data[:-1])


@pytest.mark.parametrize("how", ["flipped", "cut", "gone"])
@pytest.mark.parametrize("part", [{}, {"Range": "bytes=10-19"}], ids=["whole", "range"])
def test_a_small_object_is_refused(
    place: tuple[Cloud, ObjectStore], how: str, part: dict[str, str]
) -> None:
    cloud, below = place
    name = next(NAMES)
    tamper(below, upload(cloud, name, SMALL), how)

    reply = cloud.call("GET", f"/storage/v1/b/{BUCKET}/o/{name}?alt=media", headers=part)

    assert reply.status == 500
    assert f"gs://{BUCKET}/{name}" in reply.json["error"]["message"]


@pytest.mark.parametrize("how", ["flipped", "cut"])
def test_a_large_object_is_never_whole(place: tuple[Cloud, ObjectStore], how: str) -> None:
    cloud, below = place
    name = next(NAMES)
    tamper(below, upload(cloud, name, LARGE), how)

    with pytest.raises(http.client.IncompleteRead) as caught:
        cloud.call("GET", f"/storage/v1/b/{BUCKET}/o/{name}?alt=media")

    assert 0 < len(caught.value.partial) < LARGE


def test_a_large_object_that_is_gone_is_said_to_be_lost(place: tuple[Cloud, ObjectStore]) -> None:
    cloud, below = place
    name = next(NAMES)
    tamper(below, upload(cloud, name, LARGE), "gone")

    reply = cloud.call("GET", f"/storage/v1/b/{BUCKET}/o/{name}?alt=media")

    assert reply.status == 500
    assert "write the object again" in reply.json["error"]["message"]


def test_the_end_of_a_large_object_that_was_cut_is_refused(
    place: tuple[Cloud, ObjectStore],
) -> None:
    cloud, below = place
    name = next(NAMES)
    tamper(below, upload(cloud, name, LARGE), "cut")

    with pytest.raises(http.client.IncompleteRead):
        cloud.call(
            "GET",
            f"/storage/v1/b/{BUCKET}/o/{name}?alt=media",
            headers={"Range": f"bytes={LARGE - 2**21}-"},
        )


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_altered_bytes_are_not_copied(place: tuple[Cloud, ObjectStore], size: int) -> None:
    cloud, below = place
    name = next(NAMES)
    tamper(below, upload(cloud, name, size), "flipped")
    before = sum(1 for _ in cloud.store.blobs.keys())  # noqa: SIM118 -- no mapping

    path = f"/storage/v1/b/{BUCKET}/o/{name}/copyTo/b/{BUCKET}/o/copy-of-{name}"
    reply = cloud.call("POST", path, b"{}")

    assert reply.status == 500
    assert cloud.store.catalog.find(StoredObject, f"{BUCKET}/copy-of-{name}") is None
    assert sum(1 for _ in cloud.store.blobs.keys()) == before  # noqa: SIM118 -- no mapping


def test_a_part_of_an_upload_that_was_altered_makes_no_object(
    place: tuple[Cloud, ObjectStore],
) -> None:
    cloud, below = place
    name = next(NAMES)
    start = f"/upload/storage/v1/b/{BUCKET}/o?uploadType=resumable&name={name}"
    location = cloud.call("POST", start).headers["location"].removeprefix(cloud.url)
    half = 256 * 1024
    data = content(2 * half)
    first = {"Content-Range": f"bytes 0-{half - 1}/{2 * half}"}
    assert cloud.call("PUT", location, data[:half], first).status == 308
    upload_id = location.partition("upload_id=")[2].partition("&")[0]
    session = cloud.store.catalog.find(UploadSession, upload_id)
    assert session is not None
    tamper(below, session.parts[0], "flipped")

    rest = {"Content-Range": f"bytes {half}-{2 * half - 1}/{2 * half}"}
    reply = cloud.call("PUT", location, data[half:], rest)

    assert reply.status == 500
    assert cloud.store.catalog.find(StoredObject, f"{BUCKET}/{name}") is None


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("header", ["X-Goog-Hash", "body"])
def test_a_checksum_of_the_client_is_compared_before_the_object_exists(
    place: tuple[Cloud, ObjectStore], size: int, header: str
) -> None:
    cloud, below = place
    name = next(NAMES)
    data = content(size)
    wrong = base64.b64encode(google_crc32c.value(data + b"!").to_bytes(4)).decode()
    before = sum(len(page) for page in obstore.list(below))

    if header == "body":
        start = f"/upload/storage/v1/b/{BUCKET}/o?uploadType=resumable&name={name}"
        location = cloud.call("POST", start, {"crc32c": wrong}).headers["location"]
        span = {"Content-Range": f"bytes 0-{size - 1}/{size}"}
        reply = cloud.call("PUT", location.removeprefix(cloud.url), data, span)
    else:
        path = f"/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={name}"
        reply = cloud.call("POST", path, data, {"X-Goog-Hash": f"crc32c={wrong}"})

    assert reply.status == 400
    assert cloud.store.catalog.find(StoredObject, f"{BUCKET}/{name}") is None
    assert sum(len(page) for page in obstore.list(below)) == before


def test_a_damaged_blob_is_data_loss_to_the_rest_of_the_server(
    place: tuple[Cloud, ObjectStore],
) -> None:
    cloud, below = place
    name = next(NAMES)
    tamper(below, upload(cloud, name, SMALL), "flipped")

    with pytest.raises(DataLoss, match=name):
        cloud.service.read_object(BUCKET, name)
