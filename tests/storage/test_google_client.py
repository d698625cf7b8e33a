"""The official client, google-cloud-storage, against the server."""

import base64
import datetime
import hashlib
import io
import os

import google_crc32c
import pytest
from google.api_core.exceptions import Conflict, NotFound, PreconditionFailed
from google.cloud import storage
from google.cloud.storage import Bucket

from tests.storage.conftest import Cloud


@pytest.fixture
def bucket(client: storage.Client, bucket_name: str) -> Bucket:
    return client.bucket(bucket_name)


def test_bucket_life(client: storage.Client) -> None:
    bucket = client.create_bucket("life-of-a-bucket", location="us-central1")

    assert bucket.location == "US-CENTRAL1"
    assert bucket.location_type == "region"
    assert client.bucket("life-of-a-bucket").exists()
    assert "life-of-a-bucket" in [found.name for found in client.list_buckets()]
    bucket.labels = {"team": "vision"}
    bucket.patch()
    assert client.get_bucket("life-of-a-bucket").labels == {"team": "vision"}
    with pytest.raises(Conflict):
        client.create_bucket("life-of-a-bucket")
    bucket.blob("a").upload_from_string("x")
    with pytest.raises(Conflict):
        bucket.delete()
    bucket.delete(force=True)
    assert not client.bucket("life-of-a-bucket").exists()
    with pytest.raises(NotFound):
        client.get_bucket("life-of-a-bucket")


@pytest.mark.parametrize(
    "name",
    ["plain.txt", "a/b/c", "with space", "100%", "a%2Fb", "colon:2026-01-01-10:00:00.123",
     "emoji-😀/ünï", "..", "a/../b", "?q=1#f", "o/compose", "+plus&amp;", "//double", "trailing/"],
)  # fmt: skip
def test_any_name_comes_back(bucket: Bucket, name: str) -> None:
    if name == "..":
        name = "x/.."
    data = name.encode() * 3
    blob = bucket.blob(name)

    blob.upload_from_string(data, content_type="text/plain")

    found = bucket.get_blob(name)
    assert found is not None
    assert found.name == name
    assert found.size == len(data)
    assert found.content_type == "text/plain"
    assert (
        found.md5_hash
        == base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
    )
    crc = google_crc32c.value(data).to_bytes(4, "big")
    assert found.crc32c == base64.b64encode(crc).decode()
    assert found.download_as_bytes() == data
    assert bucket.blob(name).download_as_bytes() == data
    assert [b.name for b in bucket.list_blobs()] == [name]
    blob.delete()
    assert not blob.exists()


@pytest.mark.parametrize("size", [0, 1, 262_144, 5_000_000])
def test_resumable_upload_in_chunks(bucket: Bucket, size: int) -> None:
    data = os.urandom(size)
    blob = bucket.blob("chunked", chunk_size=262_144)

    blob.upload_from_file(io.BytesIO(data))

    assert bucket.get_blob("chunked").size == size
    assert bucket.blob("chunked").download_as_bytes(checksum="md5") == data


def test_large_object(bucket: Bucket) -> None:
    data = os.urandom(1024 * 1024) * 64
    bucket.blob("large").upload_from_file(io.BytesIO(data), size=len(data))

    blob = bucket.get_blob("large")

    assert (
        blob.md5_hash
        == base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
    )
    assert blob.download_as_bytes() == data
    assert blob.download_as_bytes(start=10, end=19) == data[10:20]
    assert blob.download_as_bytes(start=len(data) - 5) == data[-5:]
    with blob.open("rb", chunk_size=1 << 20) as file:
        file.seek(33_000_000)
        assert file.read(2_000_000) == data[33_000_000:35_000_000]


def test_upload_with_checksum(bucket: Bucket) -> None:
    for checksum in ("md5", "crc32c", "auto"):
        blob = bucket.blob(f"sum-{checksum}", chunk_size=262_144)
        blob.upload_from_file(io.BytesIO(b"x" * 600_000), checksum=checksum)
        blob.upload_from_string(b"short", checksum=checksum)
        assert blob.download_as_bytes(checksum=checksum) == b"short"


def test_overwrite_changes_generation(bucket: Bucket) -> None:
    blob = bucket.blob("again")
    blob.upload_from_string("one")
    first = blob.generation
    blob.metadata = {"k": "v"}
    blob.patch()
    assert (blob.generation, blob.metageneration) == (first, 2)

    blob = bucket.blob("again")
    blob.upload_from_string("two")

    assert blob.generation > first
    assert blob.metageneration == 1
    assert bucket.get_blob("again").metadata is None
    assert bucket.get_blob("again", generation=first) is None


def test_preconditions(bucket: Bucket) -> None:
    blob = bucket.blob("only-once")
    blob.upload_from_string("one", if_generation_match=0)

    with pytest.raises(PreconditionFailed):
        bucket.blob("only-once").upload_from_string("two", if_generation_match=0)
    with pytest.raises(PreconditionFailed):
        bucket.blob("only-once", chunk_size=262_144).upload_from_file(
            io.BytesIO(b"three" * 1000), if_generation_match=1
        )
    with pytest.raises(PreconditionFailed):
        blob.delete(if_generation_match=blob.generation + 1)
    assert blob.download_as_bytes(if_generation_match=blob.generation) == b"one"
    blob.delete(if_generation_match=blob.generation)


def test_list_with_delimiter_and_pages(client: storage.Client, bucket: Bucket) -> None:
    names = ["a/1", "a/2", "a/b/3", "b", "c/", "c/4", "d\U0010ffff/5", "ä"]
    for name in names:
        bucket.blob(name).upload_from_string(name)

    assert [b.name for b in bucket.list_blobs(page_size=3)] == sorted(names)
    top = client.list_blobs(bucket, delimiter="/")
    assert [b.name for b in top] == ["b", "ä"]
    assert top.prefixes == {"a/", "c/", "d\U0010ffff/"}
    trailing = client.list_blobs(bucket, delimiter="/", include_trailing_delimiter=True)
    assert [b.name for b in trailing] == ["b", "c/", "ä"]
    inside = client.list_blobs(bucket, prefix="a/", delimiter="/", page_size=1)
    assert [b.name for b in inside] == ["a/1", "a/2"]
    assert inside.prefixes == {"a/b/"}
    part = client.list_blobs(bucket, start_offset="a/2", end_offset="c/")
    assert [b.name for b in part] == ["a/2", "a/b/3", "b"]
    glob = client.list_blobs(bucket, match_glob="a/**")
    assert [b.name for b in glob] == ["a/1", "a/2", "a/b/3"]
    assert len(list(client.list_blobs(bucket, max_results=2))) == 2


def test_compose_copy_rewrite_rename(client: storage.Client, bucket: Bucket) -> None:
    parts = []
    for number in range(3):
        parts.append(bucket.blob(f"part-{number}"))
        parts[-1].upload_from_string(f"<{number}>", content_type="text/plain")

    whole = bucket.blob("whole")
    whole.compose(parts)
    assert whole.download_as_bytes() == b"<0><1><2>"
    assert whole.component_count == 3
    assert bucket.get_blob("whole").md5_hash is None

    other = client.create_bucket("copies-go-here")
    copied = bucket.copy_blob(parts[0], other, "dir/copy")
    assert copied.download_as_bytes() == b"<0>"
    assert copied.content_type == "text/plain"
    token, done, total = other.blob("rewritten").rewrite(whole)
    assert (token, done, total) == (None, 9, 9)
    renamed = bucket.rename_blob(parts[1], "renamed/1")
    assert renamed.download_as_bytes() == b"<1>"
    assert not parts[1].exists()
    other.delete(force=True)


def test_metadata(bucket: Bucket) -> None:
    blob = bucket.blob("meta")
    blob.content_encoding = "identity"
    blob.cache_control = "no-store"
    blob.custom_time = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    blob.metadata = {"Owner": "Zoë 😀", "Line": "one\ntwo"}
    blob.upload_from_string("x", content_type="application/x-thing")

    found = bucket.get_blob("meta")
    assert found.metadata == {"Owner": "Zoë 😀", "Line": "one\ntwo"}
    assert found.cache_control == "no-store"
    assert found.custom_time == blob.custom_time
    found.metadata = {"Owner": None, "more": "1"}
    found.patch()
    assert bucket.get_blob("meta").metadata == {"Line": "one\ntwo", "more": "1"}
    assert found.download_as_bytes() == b"x"


def test_batch(client: storage.Client, bucket: Bucket) -> None:
    for number in range(5):
        bucket.blob(f"n/{number}").upload_from_string("x")

    with client.batch():
        for number in range(5):
            bucket.delete_blob(f"n/{number}")
    assert list(bucket.list_blobs()) == []
    with pytest.raises(NotFound), client.batch():
        bucket.delete_blob("n/0")


def test_iam(bucket: Bucket) -> None:
    policy = bucket.get_iam_policy(requested_policy_version=3)
    assert list(policy.bindings) == []
    policy.bindings.append({"role": "roles/storage.objectViewer", "members": {"user:a@b.c"}})
    bucket.set_iam_policy(policy)

    found = bucket.get_iam_policy(requested_policy_version=3)

    assert found.bindings == [
        {"role": "roles/storage.objectViewer", "members": {"user:a@b.c"}},
    ]
    with pytest.raises(PreconditionFailed):
        bucket.set_iam_policy(policy)
    wanted = ["storage.objects.get", "storage.buckets.delete"]
    assert bucket.test_iam_permissions(wanted) == wanted


def test_writing_needs_a_bucket(client: storage.Client) -> None:
    missing = client.bucket("nobody-made-this")
    with pytest.raises(NotFound, match="bucket does not exist"):
        missing.blob("a").upload_from_string("x")
    with pytest.raises(NotFound, match="bucket does not exist"):
        missing.blob("a", chunk_size=262_144).upload_from_file(io.BytesIO(b"x" * 10))
    assert missing.get_blob("a") is None
    with pytest.raises(NotFound):
        list(missing.list_blobs())


def test_links_name_the_host_that_was_called(cloud: Cloud, bucket: Bucket) -> None:
    blob = bucket.blob("linked")
    blob.upload_from_string("x")
    assert blob.media_link.startswith(cloud.url)
    assert blob.self_link.startswith(cloud.url)
