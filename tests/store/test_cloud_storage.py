"""Blobs in `gs://`, by Cloud Storage's own protocol: against the Cloud Storage face of a server.

That face knows no multipart uploads of the XML API, so that this holds for what fits one request.
"""

import json
import sys

import pytest

from tests.conftest import Server

pytestmark = pytest.mark.heavy

SCRIPT = """
import json, os
import google.auth
from google.auth.transport.requests import Request
from google.cloud import storage
from tensordeck.errors import FailedPrecondition, NotFound
from tensordeck.settings import Settings
from tensordeck.store.blobs import PIECE, new_key, open_blobs

storage.Client().create_bucket("inner-blobs")
credentials, _ = google.auth.default()
credentials.refresh(Request())
os.environ["GOOGLE_BEARER_TOKEN"] = credentials.token
del os.environ["GOOGLE_APPLICATION_CREDENTIALS"]
blobs = open_blobs(Settings(object_store="gs://inner-blobs/some/prefix"))
answers = {}
data = os.urandom(PIECE - 1)
key, empty, lost = new_key(), new_key(), new_key()
answers["written"] = [blobs.write(key, iter([data])), blobs.write(empty, iter([]))]
answers["whole"] = b"".join(blobs.read(key)) == data
answers["part"] = b"".join(blobs.read(key, 10, 3_000_000)) == data[10:3_000_000]
answers["end"] = b"".join(blobs.read(key, PIECE - 5)) == data[PIECE - 5:]
answers["empty"] = b"".join(blobs.read(empty)).hex()
answers["listed"] = sorted(found for found, _ in blobs.keys()) == sorted([key, empty])
blobs.delete([key, lost, empty])
answers["left"] = list(blobs.keys())
try:
    b"".join(blobs.read(key))
except NotFound:
    answers["gone"] = True
for name, url in {"bucket": "gs://no-such-bucket", "token": "gs://inner-blobs"}.items():
    if name == "token":
        os.environ["GOOGLE_BEARER_TOKEN"] = "wrong"
    try:
        open_blobs(Settings(object_store=url))
    except FailedPrecondition as error:
        answers[name] = str(error)
print(json.dumps(answers))
"""


def test_blobs_in_cloud_storage(server: Server) -> None:
    done = server.exec(sys.executable, "-c", SCRIPT)

    assert done.returncode == 0, done.stderr[-3000:]
    answers = json.loads(done.stdout.splitlines()[-1])
    assert "there is no such bucket" in answers.pop("bucket")
    assert "it refused access" in answers.pop("token")
    assert answers == {
        "written": [5 * 2**20 - 1, 0],
        "whole": True,
        "part": True,
        "end": True,
        "empty": "",
        "listed": True,
        "left": [],
        "gone": True,
    }
