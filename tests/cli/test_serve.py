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
from dataclasses import fields
from pathlib import Path

import pytest

from tensordeck.settings import Settings


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


def test_every_setting_has_an_option_and_a_variable():
    said = serve("--help").stdout

    for field in fields(Settings):
        assert f"--{field.name.replace('_', '-')} " in said
        assert f"TENSORDECK_{field.name.upper()}" in said


def test_a_start_loads_nothing_that_its_first_answers_do_without():
    """What is listed takes from 50 ms to a second, and belongs into the function that needs it."""
    heavy = ("tensorboard", "fsspec", "typer", "pydantic", "rich", "alembic", "jinja2", "jwt")
    more = ("cryptography", "lark", "pyarrow", "pandas", "psutil", "requests", "ray", "docker")
    code = (
        "import sys, tensordeck.cli.serve_command, tensordeck.server\n"
        "from tensordeck.store import blobs, catalog, migrations, points\n"
        f"sys.exit(', '.join(name for name in {heavy + more} if name in sys.modules) or 0)\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr.strip()) == (0, ""), "import these where they are needed"


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
    token = fresh_server.token
    fresh_server.stop()

    fresh_server.start()

    assert [(fresh_server.data_dir / file).read_bytes() for file in kept] == before
    request = urllib.request.Request(
        f"{fresh_server.url}/v1/projects/p/locations/us-central1/tensorboards",
        headers={"Authorization": f"Bearer {token}"},
    )
    with urllib.request.urlopen(request) as reply:
        assert reply.status == 200


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


def test_a_missing_authority_is_told(fresh_server):
    fresh_server.stop()
    for file in ("ca.pem", "ca-key.pem"):
        path = fresh_server.data_dir / "tls" / file
        content = path.read_bytes()
        path.unlink()

        assert file in refused("--data-dir", str(fresh_server.data_dir), "--port", "0")

        path.write_bytes(content)


@pytest.mark.parametrize(
    "text", ["port = 'many'", "colour = 'blue'", "port = ", "\x00", "drain-seconds = []"]
)
def test_a_settings_file_with_a_mistake_is_told(tmp_path, text):
    (tmp_path / "tensordeck.toml").write_text(text)

    assert "tensordeck.toml" in refused(cwd=tmp_path)


@pytest.fixture
def far_server(tmp_path):
    """A server on all addresses, and an address of this machine that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: only asks which address would be used
        except OSError:
            pytest.skip("this machine has no address besides loopback")
        address = probe.getsockname()[0]
    with socket.socket() as probe:
        probe.bind(("", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "tensordeck", "serve", "--data-dir", str(tmp_path / "data"),
         "--host", "0.0.0.0", "--port", str(port), "--server-names", address],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert "is ready" in process.stdout.readline()
    yield tmp_path / "data", f"{address}:{port}"
    process.terminate()
    process.communicate(timeout=20)


def test_a_program_on_another_machine_is_led_here_with_credentials(far_server, tmp_path):
    data_dir, address = far_server
    (tmp_path / "elsewhere").mkdir()
    url = "https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/l/tensorboards"
    code = (
        "import urllib.request, urllib.error\n"
        f"try: urllib.request.urlopen('{url}')\n"
        "except urllib.error.HTTPError as error: print(error.code)"
    )

    def run(scheme: str, *options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tensordeck", "exec", "--url", f"{scheme}://{address}"]
        return subprocess.run(
            [*command, *options, "--", sys.executable, "-c", code],
            capture_output=True, text=True, check=False, cwd=tmp_path / "elsewhere",
        )  # fmt: skip

    owner = ("--credentials", str(data_dir / "credentials" / "owner.json"))
    bundle = ("--ca", str(data_dir / "tls" / "bundle.pem"))
    done = run("https", *owner, *bundle)
    assert done.stdout == "401\n", done.stderr
    for refused, way_out in (
        (run("https", *owner), "--ca"),
        (run("http", *owner, *bundle), "https://"),
        (run("https", *bundle), "--credentials"),
    ):
        assert (refused.returncode, refused.stdout) == (1, "")
        assert way_out in refused.stderr
        assert refused.stderr.count("\n") == 1
