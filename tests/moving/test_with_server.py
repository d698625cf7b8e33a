"""A server is backed up and moved while it serves, from the command line."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tensordeck.cli import main
from tests.conftest import Server, make_server

PLACE = "/v1/projects/p/locations/us-central1/tensorboards"


def _call(server: Server, token: str, body: dict[str, object] | None = None) -> tuple[int, str]:
    request = urllib.request.Request(
        server.url + PLACE,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def _tensordeck(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tensordeck", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.heavy
def test_a_server_moves_and_its_clients_keep_their_credentials(
    fresh_server: Server, tmp_path: Path
) -> None:
    token = fresh_server.token
    assert _call(fresh_server, token, {"displayName": "one"})[0] == 200
    file = str(tmp_path / "x.tar")

    done = _tensordeck("backup", file, "--data-dir", str(fresh_server.data_dir))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Backed up ")
    whole = _tensordeck("verify", file)
    assert (whole.returncode, whole.stderr) == (0, "")

    new_home = tmp_path / "new"
    done = _tensordeck("migrate", "--from", str(fresh_server.data_dir), "--to", str(new_home))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["TABLE", "ROWS", "COPIED", "CHECKSUM", "OF", "THE", "COPY"]
    assert "all rows of 0 runs are alike" in lines[-1]

    status, answer = _call(fresh_server, token, {"displayName": "two"})
    assert status == 503
    assert str(new_home) in json.loads(answer)["error"]["message"]
    assert "one" in _call(fresh_server, token)[1]  # reads go on
    assert fresh_server.stop() == 0

    moved = make_server(new_home).start()
    try:
        assert "one" in _call(moved, token)[1]
        assert moved.token  # by the owner's file that came along
        assert _call(moved, token, {"displayName": "two"})[0] == 200
    finally:
        moved.kill()

    restored = tmp_path / "restored"
    done = _tensordeck("restore", file, "--data-dir", str(restored))
    assert done.returncode == 0, done.stderr
    again = make_server(restored).start()
    try:
        answer = _call(again, token)[1]
        assert "one" in answer
        assert "two" not in answer
    finally:
        again.kill()

    released = _tensordeck("migrate", "--from", str(fresh_server.data_dir), "--release")
    assert "takes writes again" in released.stdout


@pytest.mark.heavy
def test_a_server_that_uses_the_target_is_in_the_way(fresh_server: Server, tmp_path: Path) -> None:
    source = tmp_path / "source"
    first = make_server(source).start()
    first.stop()

    done = _tensordeck("migrate", "--from", str(source), "--to", str(fresh_server.data_dir))

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "A Tensordeck server uses the data directory" in done.stderr


def test_the_command_line_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, message in (
        (["--from", str(tmp_path)], "--to"),
        (["--from", "postgresql://a:sesame@h/d", "--to", "x"], "blobs of postgresql://h/d lie"),
        (["--from", str(tmp_path), "--to", "x", "--release"], "--release takes --from alone"),
    ):
        before = os.umask(0o022)
        try:
            assert main(["migrate", *arguments]) == 1
        finally:
            os.umask(before)
        told = capsys.readouterr().err
        assert message in told
        assert "sesame" not in told
