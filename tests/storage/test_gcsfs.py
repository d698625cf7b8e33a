"""gcsfs, which pandas and others open gs:// URLs with, against the server."""

import os

import pytest
from gcsfs.core import GCSFileSystem  # the extended one also asks a gRPC service for folders
from gcsfs.retry import HttpError
from google.oauth2.credentials import Credentials

from tests.storage.conftest import Cloud


@pytest.fixture
def fs(cloud: Cloud) -> GCSFileSystem:
    return GCSFileSystem(
        project="p",
        token=Credentials(cloud.token),
        endpoint_url=cloud.url,
        skip_instance_cache=True,
        use_listings_cache=False,
    )


def test_files(fs: GCSFileSystem, bucket_name: str) -> None:
    data = os.urandom(12_000_000)
    for name, content in (("d/small", b"x"), ("d/empty", b""), ("d/e/large", data)):
        with fs.open(f"{bucket_name}/{name}", "wb", block_size=5 * 2**20) as file:
            file.write(content)
        assert fs.cat(f"{bucket_name}/{name}") == content

    assert sorted(fs.ls(f"{bucket_name}/d", detail=False)) == [
        f"{bucket_name}/d/e",
        f"{bucket_name}/d/empty",
        f"{bucket_name}/d/small",
    ]
    assert fs.glob(f"{bucket_name}/**/l*") == [f"{bucket_name}/d/e/large"]
    assert fs.info(f"{bucket_name}/d/e/large")["size"] == len(data)
    assert fs.isdir(f"{bucket_name}/d/e")
    with fs.open(f"{bucket_name}/d/e/large", "rb") as file:
        file.seek(11_000_000)
        assert file.read(100) == data[11_000_000:11_000_100]
    assert fs.cat_file(f"{bucket_name}/d/e/large", start=5, end=10) == data[5:10]


def test_move_copy_remove(fs: GCSFileSystem, bucket_name: str) -> None:
    fs.pipe({f"{bucket_name}/x/{number}": b"%d" % number for number in range(30)})

    fs.copy(f"{bucket_name}/x/1", f"{bucket_name}/y/one")
    fs.mv(f"{bucket_name}/x/2", f"{bucket_name}/y/two")
    assert fs.cat(f"{bucket_name}/y/one") == b"1"
    assert fs.cat(f"{bucket_name}/y/two") == b"2"
    assert not fs.exists(f"{bucket_name}/x/2")
    fs.merge(f"{bucket_name}/y/both", [f"{bucket_name}/y/one", f"{bucket_name}/y/two"])
    assert fs.cat(f"{bucket_name}/y/both") == b"12"
    fs.rm(f"{bucket_name}/x", recursive=True)
    assert not fs.exists(f"{bucket_name}/x")


def test_buckets(fs: GCSFileSystem) -> None:
    fs.mkdir("made-by-gcsfs")
    assert "made-by-gcsfs" in [name.strip("/") for name in fs.ls("", detail=False)]
    fs.pipe("made-by-gcsfs/a", b"1")
    with pytest.raises(HttpError, match="not empty"):
        fs.rmdir("made-by-gcsfs")
    fs.rm("made-by-gcsfs", recursive=True)
    assert not fs.exists("made-by-gcsfs")


def test_missing(fs: GCSFileSystem, bucket_name: str) -> None:
    with pytest.raises(FileNotFoundError):
        fs.cat(f"{bucket_name}/nothing")
    with pytest.raises(FileNotFoundError):
        fs.ls("no-such-bucket-here")
