"""Opening an object store: what is wrong is one clear line, and nothing waits for ever."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest

from tensordeck.errors import FailedPrecondition, InvalidArgument, TensordeckError, Unavailable
from tensordeck.settings import Settings
from tensordeck.store.blobs import new_key, open_blobs
from tests.conftest import free_port, tensordeck
from tests.s3_server import S3Server


@pytest.fixture
def environ(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The variables of a server that is there, to be spoilt."""
    for name, value in s3.environ().items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.fixture
def hole() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def refusal(url: str, kind: type[TensordeckError]) -> str:
    with pytest.raises(kind) as caught:
        open_blobs(Settings(object_store=url))
    assert "\n" not in caught.value.message
    assert url in caught.value.message
    return caught.value.message


def test_a_folder_that_is_not_there_is_made(tmp_path: Path) -> None:
    blobs = open_blobs(Settings(object_store=f"file://{tmp_path}/not/there"))
    key = new_key()
    blobs.write(key, iter([b"content"]))
    assert b"".join(blobs.read(key)) == b"content"
    assert [path for path in (tmp_path / "not/there").rglob("*") if path.is_file()]


def test_a_folder_that_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "file" in refusal(f"file://{tmp_path}/file/objects", InvalidArgument)


def test_a_bucket_that_is_not_there(environ: pytest.MonkeyPatch) -> None:
    message = refusal("s3://no-such-bucket/prefix", FailedPrecondition)
    assert "there is no such bucket" in message


@pytest.mark.parametrize(
    ("variable", "reason"),
    [
        ("AWS_SECRET_ACCESS_KEY", "SignatureDoesNotMatch"),
        ("AWS_ACCESS_KEY_ID", "InvalidAccessKeyId"),
    ],
)
def test_credentials_that_are_refused(
    s3: S3Server, environ: pytest.MonkeyPatch, variable: str, reason: str
) -> None:
    environ.setenv(variable, "wrong")
    message = refusal(f"s3://{s3.make_bucket()}", FailedPrecondition)
    assert reason in message
    assert "credentials" in message


def test_credentials_that_may_only_read(s3: S3Server, environ: pytest.MonkeyPatch) -> None:
    for name, value in s3.environ("reader").items():
        environ.setenv(name, value)
    assert "AccessDenied" in refusal(f"s3://{s3.make_bucket()}", FailedPrecondition)


def test_a_server_that_is_away(environ: pytest.MonkeyPatch) -> None:
    environ.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    assert "connection refused" in refusal("s3://bucket", Unavailable)


def test_a_server_that_does_not_answer(environ: pytest.MonkeyPatch, hole: int) -> None:
    environ.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{hole}")
    environ.setenv("AWS_READ_TIMEOUT", "100ms")
    assert "no answer in time" in refusal("s3://bucket", Unavailable)


@pytest.mark.parametrize("endpoint", ["minio:9000", "foo", "ftp://host", "http://"])
def test_an_endpoint_that_is_no_address(environ: pytest.MonkeyPatch, endpoint: str) -> None:
    environ.setenv("AWS_ENDPOINT_URL", endpoint)
    assert "AWS_ENDPOINT_URL" in refusal("s3://bucket", InvalidArgument)


def test_a_timeout_that_is_none(environ: pytest.MonkeyPatch) -> None:
    environ.setenv("AWS_READ_TIMEOUT", "soon")
    assert "soon" in refusal("s3://bucket", InvalidArgument)


def test_nothing_is_left_by_the_look_at_the_start(
    s3: S3Server, environ: pytest.MonkeyPatch
) -> None:
    bucket = s3.make_bucket()
    blobs = open_blobs(Settings(object_store=f"s3://{bucket}/a/b"))
    assert [found for page in obstore.list(s3.bucket(bucket)) for found in page] == []

    key = new_key()
    blobs.write(key, iter([b"x"]))

    assert [found["path"] for page in obstore.list(s3.bucket(bucket)) for found in page] == [
        f"a/b/{key}"
    ]


def test_serve_says_it_in_one_line(s3: S3Server, tmp_path: Path) -> None:
    ended = subprocess.run(
        [
            *tensordeck("serve"),
            *("--data-dir", str(tmp_path / "data"), "--port", "0"),
            *("--object-store", "s3://no-such-bucket"),
        ],
        check=False,
        env={"PATH": "", **s3.environ()},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert ended.returncode == 1
    assert "there is no such bucket" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
