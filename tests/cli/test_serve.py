"""`tensordeck serve`: what it says, how it ends, and what it refuses."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest


def serve(*options: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs a server that is expected to end by itself."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("TENSORDECK_")}
    return subprocess.run(
        [sys.executable, "-m", "tensordeck", "serve", *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environ,
        cwd=cwd,
    )


def refused(*options: str, cwd: Path | None = None) -> str:
    """The one line of a server that can't start."""
    done = serve(*options, cwd=cwd)
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("tensordeck: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_it_says_where_it_is_and_how_to_use_it(fresh_server):
    fresh_server.process.send_signal(signal.SIGINT)
    said = fresh_server.process.communicate(timeout=20)[0]

    assert fresh_server.process.returncode == 0
    assert f"http://localhost:{fresh_server.port}\n" in said
    assert f"{fresh_server.data_dir}\n" in said
    assert f"tensordeck exec --data-dir {fresh_server.data_dir} -- python" in said
    assert re.search(r"http://localhost:\d+/sign-in\?token=\S+\n", said)
    assert len(said.splitlines()) <= 6


def test_it_ends_with_0_on_sigterm_and_leaves_no_note(fresh_server):
    note = fresh_server.data_dir / "server.json"
    assert json.loads(note.read_text())["port"] == fresh_server.port

    assert fresh_server.stop() == 0

    assert not note.exists()


def test_a_second_start_keeps_authority_and_credentials(fresh_server):
    kept = ("tls/ca.pem", "tls/server.pem", "credentials/owner.json")
    before = [(fresh_server.data_dir / file).read_bytes() for file in kept]
    fresh_server.stop()

    fresh_server.start()

    assert [(fresh_server.data_dir / file).read_bytes() for file in kept] == before


def test_the_link_it_prints_signs_in_and_nothing_else_is_open(fresh_server):
    for path in ("/", "/projects/p/locations/l/tensorboards/1", "/compare/"):
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(fresh_server.url + path)
        assert error.value.code == 401
    fresh_server.process.terminate()
    said = fresh_server.process.communicate(timeout=20)[0]
    path = re.search(r"http://localhost:\d+(/sign-in\?token=\S+)", said)[1]

    fresh_server.start()

    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor)
    with opener.open(fresh_server.url + path) as page:
        assert page.status == 200
    with opener.open(fresh_server.url) as page:
        assert b"Sign out" in page.read()


def test_a_second_server_on_the_same_data_is_refused(fresh_server):
    told = refused("--data-dir", str(fresh_server.data_dir), "--port", "0")

    assert str(fresh_server.data_dir) in told
    assert fresh_server.data_dir.joinpath("server.json").exists()


def test_a_port_in_use_is_told(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])

        told = refused("--data-dir", str(tmp_path / "data"), "--port", port)

    assert port in told
    assert "--port" in told


def test_a_folder_that_can_t_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")

    assert "--data-dir" in refused("--data-dir", str(tmp_path / "file" / "data"))


def test_a_damaged_database_is_told_and_left_alone(tmp_path):
    database = tmp_path / "tensordeck.db"
    database.write_bytes(b"not a database" * 1000)

    assert "tensordeck.db" in refused("--data-dir", str(tmp_path), "--port", "0")

    assert database.read_bytes() == b"not a database" * 1000


@pytest.mark.parametrize(
    "text", ["port = 'many'", "colour = 'blue'", "port = ", "\x00", "drain-seconds = []"]
)
def test_a_settings_file_with_a_mistake_is_told(tmp_path, text):
    (tmp_path / "tensordeck.toml").write_text(text)

    assert "tensordeck.toml" in refused(cwd=tmp_path)
