"""The tutorial's scripts, run as a reader runs them, and what they leave on the server."""

import json
import os
import pickle
import subprocess
import sys
import urllib.request
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
REGION = "us-central1"


@dataclass
class Reader:
    """Somebody who follows the tutorial.

    Attributes:
        server: Their server.
        folder: Where they work.
        project: Their project.
        instance: Full name of their instance, once they have one.
    """

    server: Any
    folder: Path
    project: str
    instance: str = ""

    @property
    def instance_id(self) -> str:
        return self.instance.rpartition("/")[2]

    def script(self, name: str, *, before: str = "", after: str = "", **placeholders: str) -> Path:
        """A code block of the tutorial with nothing but its placeholders filled in."""
        text = (HERE / "tutorial" / name).read_text()
        filled = {"your-project-id": self.project, "TB_ID": self.instance_id, **placeholders}
        for placeholder, value in filled.items():
            text = text.replace(placeholder, value)
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(before + text + after)
        return path

    def run(
        self, *command: object, expect: int = 0, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command under `tensordeck exec`; a `.py` file runs in this Python."""
        words = [str(word) for word in command]
        if words[0].endswith(".py"):
            words.insert(0, sys.executable)
        done = self.server.exec(
            *words,
            cwd=self.folder,
            timeout=800,
            env={**os.environ, "GOOGLE_CLOUD_PROJECT": self.project, **variables},
        )
        assert done.returncode == expect, f"{words}:\n{done.stdout}\n{done.stderr}"
        return done

    def tensordeck(self, command: str, *words: object) -> str:
        """Runs a command of ours; returns what it prints."""
        done = subprocess.run(
            [
                *(sys.executable, "-m", "tensordeck", command, *map(str, words)),
                *("--data-dir", str(self.server.data_dir), "--port", str(self.server.port)),
            ],
            cwd=self.folder,
            env={**os.environ, "XDG_STATE_HOME": str(self.folder / "state")},
            capture_output=True,
            text=True,
            check=False,
            timeout=800,
        )
        assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def create_instance(self) -> None:
        """The tutorial's first step."""
        out = self.run(self.script("create_tensorboard.py")).stdout
        self.instance = out.split("TensorBoard created: ")[1].split()[0]

    def upload(self, logdir: object, experiment: str) -> None:
        """Uploads with our own command."""
        self.tensordeck(
            *("upload", logdir, "--experiment", experiment, "--tensorboard", self.instance)
        )

    def read_back(self, experiment: str) -> dict[str, Any]:
        """All that Google's client reads of an experiment, by run id."""
        target = self.folder / f"{experiment}.pickle"
        self.run(HERE / "read_back.py", f"{self.instance}/experiments/{experiment}", target)
        return pickle.loads(target.read_bytes())  # noqa: S301 -- we wrote it

    def create_bucket(self) -> str:
        """A bucket for logs; returns its name."""
        name = f"logs-{uuid.uuid4().hex[:12]}"
        self.api("POST", f"/storage/v1/b?project={self.project}", {"name": name})
        return name

    def api(self, verb: str, path: str, body: object = None) -> Any:
        """A plain REST call."""
        request = urllib.request.Request(
            self.server.url + path,
            method=verb,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "authorization": f"Bearer {self.server.token}",
                "content-type": "application/json",
            },
        )
        with urllib.request.urlopen(request) as reply:
            return json.loads(reply.read() or b"null")


@pytest.fixture
def reader(server, tmp_path) -> Reader:
    """Somebody with a project of their own on the shared server."""
    return Reader(server, tmp_path, f"reader-{uuid.uuid4().hex[:8]}")


@pytest.fixture
def fresh_reader(fresh_server, tmp_path) -> Reader:
    """Somebody with a server of their own, whose disk nobody else fills."""
    (tmp_path / "work").mkdir()
    reader = Reader(fresh_server, tmp_path / "work", "reader")
    reader.create_instance()
    return reader


@pytest.fixture
def with_instance(reader) -> Reader:
    """Somebody who has made an instance."""
    reader.create_instance()
    return reader
