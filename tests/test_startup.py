"""What a server's process sets for the libraries that it loads, and leaves to those it starts."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import importlib.abc, os, sys
from tensordeck.startup import lean_start

NAMES = {"grpc": "GRPC_EXPERIMENTS", "numpy": "OPENBLAS_NUM_THREADS"}
seen = {}

class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name in NAMES:
            seen[name] = os.environ.get(NAMES[name])

sys.meta_path.insert(0, Watch())
before = dict(os.environ)
with lean_start():
    print(seen["grpc"], seen["numpy"], os.environ == before)
"""


@pytest.mark.parametrize(
    ("given", "read"), [({}, "-event_engine_listener"), ({"GRPC_EXPERIMENTS": "x"}, "x")]
)
def test_libraries_read_what_suits_a_server(given, read):
    environment = {k: v for k, v in os.environ.items() if k != "GRPC_EXPERIMENTS"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**environment, **given},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [read, "1", "True"]
