"""TensorFlow's own Cloud Storage file system, as `tensordeck exec` sets it up."""

import json
import sys

import pytest

from tests.conftest import Server

pytestmark = pytest.mark.heavy

SCRIPT = """
import json
import tensorflow as tf
from google.cloud import storage

storage.Client().create_bucket("for-tensorflow")
files, root = tf.io.gfile, "gs://for-tensorflow"
answers = {}
with files.GFile(f"{root}/dir/é a:b.txt", "w") as file:
    file.write("hello")
    file.flush()
    file.write(" world")
answers["read"] = files.GFile(f"{root}/dir/é a:b.txt").read()
with files.GFile(f"{root}/large", "wb") as file:
    file.write(bytes(20_000_000))
answers["size"] = files.stat(f"{root}/large").length
answers["length"] = len(files.GFile(f"{root}/large", "rb").read())
answers["listed"] = sorted(files.listdir(root))
answers["glob"] = files.glob(f"{root}/dir/*")
files.rename(f"{root}/large", f"{root}/renamed")
answers["exists"] = [files.exists(f"{root}/large"), files.exists(f"{root}/renamed")]
files.makedirs(f"{root}/made/deep")
answers["isdir"] = files.isdir(f"{root}/made/deep")
writer = tf.summary.create_file_writer(f"{root}/logs")
with writer.as_default():
    for step in range(20):
        tf.summary.scalar("loss", step, step=step)
        writer.flush()
writer.close()
[events] = files.glob(f"{root}/logs/*")
answers["records"] = sum(1 for _ in tf.data.TFRecordDataset(events))
for folder in ("dir", "made", "logs"):
    files.rmtree(f"{root}/{folder}")
files.remove(f"{root}/renamed")
answers["left"] = files.listdir(root)
print(json.dumps(answers))
"""


def test_files_and_summaries(server: Server) -> None:
    done = server.exec(sys.executable, "-c", SCRIPT)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "read": "hello world",
        "size": 20_000_000,
        "length": 20_000_000,
        "listed": ["dir/", "large"],
        "glob": ["gs://for-tensorflow/dir/é a:b.txt"],
        "exists": [False, True],
        "isdir": True,
        "records": 21,
        "left": [],
    }
