"""The real gcloud against the server."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.storage.conftest import Cloud

pytestmark = [
    pytest.mark.heavy,  # gcloud takes seconds to start
    pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed"),
]


class Gcloud:
    """`gcloud storage` with a configuration of its own."""

    def __init__(self, cloud: Cloud, folder: Path) -> None:
        token = folder / "token"
        token.write_text(cloud.token)
        self.env = {
            **os.environ,
            "CLOUDSDK_CONFIG": str(folder / "config"),
            "CLOUDSDK_CORE_PROJECT": "p",
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
            "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(token),
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": f"{cloud.url}/storage/v1/",
            # One process: starting workers takes longer than these tests' work.
            "CLOUDSDK_STORAGE_PROCESS_COUNT": "1",
        }

    def __call__(self, *arguments: str, fails: bool = False) -> str:
        done = subprocess.run(
            ["gcloud", "storage", *arguments],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stderr
        return done.stderr if fails else done.stdout


@pytest.fixture(scope="module")
def gcloud(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Gcloud:
    return Gcloud(cloud, tmp_path_factory.mktemp("gcloud"))


def test_buckets_and_objects(gcloud: Gcloud, tmp_path: Path) -> None:
    gcloud("buckets", "create", "gs://your-staging-bucket", "--location=us-central1")
    assert "409" in gcloud("buckets", "create", "gs://your-staging-bucket", fails=True)

    small, large, empty = tmp_path / "small.txt", tmp_path / "large.bin", tmp_path / "empty"
    small.write_text("hello 😀")
    large.write_bytes(os.urandom(9_000_000))
    empty.touch()
    gcloud("cp", str(small), str(large), str(empty), "gs://your-staging-bucket/a dir/")
    back = tmp_path / "back"
    back.mkdir()
    gcloud("cp", "-r", "gs://your-staging-bucket/a dir/*", str(back))

    for file in (small, large, empty):
        assert (back / file.name).read_bytes() == file.read_bytes()
    assert gcloud("ls", "gs://your-staging-bucket/") == "gs://your-staging-bucket/a dir/\n"
    listed = gcloud("ls", "-l", "-r", "gs://your-staging-bucket/**")
    assert "9000000" in listed
    assert "large.bin" in listed
    described = gcloud("objects", "describe", "gs://your-staging-bucket/a dir/small.txt")
    assert "content_type: text/plain" in described
    gcloud("mv", "gs://your-staging-bucket/a dir/small.txt", "gs://your-staging-bucket/b/s.txt")
    assert gcloud("cat", "gs://your-staging-bucket/b/s.txt") == "hello 😀"
    buckets = gcloud("buckets", "list", "--format=value(name,location)")
    assert buckets == "your-staging-bucket\tUS-CENTRAL1\n"
    assert "not empty" in gcloud("buckets", "delete", "gs://your-staging-bucket", fails=True)
    gcloud("rm", "-r", "gs://your-staging-bucket")
    assert "404" in gcloud("ls", "gs://your-staging-bucket", fails=True)
