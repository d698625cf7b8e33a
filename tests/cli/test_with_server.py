"""Commands against a real server in a process of its own."""

import csv
import io
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tensordeck.cli import main

CREATE = ("ai", "tensorboards", "create", "--region=us-central1")


@pytest.fixture
def cli(server, monkeypatch, capsys):
    """Runs a command of ours in this process; returns (status, output, errors)."""
    monkeypatch.setenv("TENSORDECK_DATA_DIR", str(server.data_dir))
    monkeypatch.delenv("TENSORDECK_URL", raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main(arguments)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def bare_path(server):
    """An environment without gcloud."""
    return {**os.environ, "PATH": "/nonexistent", "TENSORDECK_DATA_DIR": str(server.data_dir)}


def gcloud(environ, *arguments: str, options: tuple[str, ...] = ()):
    """The built-in gcloud, as `exec` starts it."""
    command = [sys.executable, "-m", "tensordeck", "exec", *options, "--", "gcloud", *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


@pytest.fixture
def instance(bare_path) -> str:
    """A new instance's full name."""
    created = gcloud(bare_path, *CREATE, "--display-name=deck", "--format=value(name)")
    assert created.returncode == 0, created.stderr
    return created.stdout.strip()


def test_a_child_s_status_and_signals_are_its_own(server):
    assert server.exec(sys.executable, "-c", "raise SystemExit(7)").returncode == 7
    killed = server.exec(sys.executable, "-c", "import os; os.kill(os.getpid(), 15)")
    assert killed.returncode == -signal.SIGTERM


def test_a_child_gets_its_arguments_and_input_as_they_are(server):
    code = "import sys; print(sys.argv[1:]); print(sys.stdin.read())"
    odd = ["--data-dir", "-c", "", "a b", "--", "ä'\"$"]

    done = server.exec(sys.executable, "-c", code, *odd, input="typed")

    assert done.stdout == f"{odd}\ntyped\n"


def test_a_child_reaches_google_s_hosts_here(server):
    url = "https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/l/tensorboards"
    code = (
        "import urllib.request, urllib.error\n"
        f"try: urllib.request.urlopen('{url}')\n"
        "except urllib.error.HTTPError as error: print(error.code, error.read().decode())"
    )

    done = server.exec(sys.executable, "-c", code)

    assert done.stdout.startswith("401 "), done.stderr
    assert "tensordeck exec" in done.stdout


def test_a_program_that_does_not_exist_is_told_in_one_line(server, tmp_path):
    done = server.exec("no-such-program")
    assert (done.returncode, done.stderr) == (1, "tensordeck: no-such-program: no such program.\n")

    done = server.exec(str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1


def test_nothing_runs_when_no_server_answers(server, tmp_path):
    mark = tmp_path / "ran"
    command = [sys.executable, "-m", "tensordeck", "exec", "--data-dir", str(server.data_dir)]

    done = subprocess.run(
        [*command, "--port", "1", "--", "touch", str(mark)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "No server answers at http://localhost:1" in done.stderr
    assert not mark.exists()


def test_env_turns_a_shell_to_the_server(server):
    command = f"{sys.executable} -m tensordeck env --data-dir {server.data_dir}"

    done = subprocess.run(
        ["sh", "-c", f'eval "$({command})" && printf %s "$https_proxy"'],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == f"http://127.0.0.1:{server.port}"


def test_the_built_in_gcloud_creates_describes_lists_updates_and_deletes(bare_path):
    created = gcloud(bare_path, *CREATE, "--display-name=a deck", "--labels=env=dev,team=x")
    assert created.returncode == 0, created.stderr
    name = re.search(r"Created Vertex AI Tensorboard: (projects/\S+)\.\n", created.stderr)[1]
    assert name.startswith("projects/tensordeck/locations/us-central1/tensorboards/")
    number = name.rpartition("/")[2]

    described = gcloud(bare_path, "ai", "tensorboards", "describe", number, "--region=us-central1")
    assert "displayName: a deck\n" in described.stdout
    assert "labels:\n  env: dev\n  team: x\n" in described.stdout
    updated = gcloud(
        bare_path, "ai", "tensorboards", "update", name, "--update-labels=env=prod",
        "--remove-labels=team", "--description=new",
    )  # fmt: skip
    assert updated.returncode == 0, updated.stderr
    listed = gcloud(
        bare_path, "ai", "tensorboards", "list", "--region=us-central1", "--format=json",
        "--sort-by=~create_time", "--page-size=1",
    )  # fmt: skip
    found = {item["name"]: item for item in json.loads(listed.stdout)}
    assert found[name]["labels"] == {"env": "prod"}
    assert found[name]["description"] == "new"
    assert gcloud(bare_path, "ai", "tensorboards", "delete", name, "--quiet").returncode == 0
    gone = gcloud(bare_path, "beta", "ai", "tensorboards", "describe", name)
    assert gone.returncode == 1
    assert gone.stderr.endswith(
        f'ERROR: (gcloud.ai.tensorboards.describe) NOT_FOUND: Tensorboard "{name}" was not found.\n'
    )


def test_what_the_built_in_gcloud_can_t_do_is_told(bare_path):
    done = gcloud(bare_path, "storage", "ls")
    assert done.returncode == 2
    assert "gcloud is not installed" in done.stderr

    done = gcloud(bare_path, "ai", "tensorboards", "describe", "1")
    assert (done.returncode, done.stderr) == (
        1,
        "ERROR: (gcloud.ai.tensorboards.describe) --region must be specified.\n",
    )


@pytest.mark.heavy
@pytest.mark.skipif(not shutil.which("gcloud"), reason="gcloud is not installed")
def test_the_real_gcloud_works_without_a_login(server, tmp_path):
    untouched = tmp_path / "own-config"
    untouched.mkdir()
    env = {**os.environ, "CLOUDSDK_CONFIG": str(untouched)}

    created = server.exec("gcloud", *CREATE, "--display-name=real", env=env)
    assert created.returncode == 0, created.stderr
    name = re.search(r"Created Vertex AI Tensorboard: (projects/\S+)\.\n", created.stderr)[1]
    described = server.exec(
        "gcloud", "ai", "tensorboards", "describe", name.rpartition("/")[2],
        "--region=us-central1", "--format=value(displayName)", env=env,
    )  # fmt: skip

    assert described.stdout == "real\n", described.stderr
    assert not list(untouched.iterdir())


def test_open_prints_our_address_of_what_the_client_printed(server, cli, instance):
    printed = "https://us-central1.tensorboard.googleusercontent.com/experiment"
    board = instance.replace("/", "+") + "+experiments+e"

    assert cli("open", "--no-browser")[1] == f"http://localhost:{server.port}/\n"
    assert cli("open", f"{printed}/{board}", "--no-browser")[1] == (
        f"http://localhost:{server.port}/experiment/{board}/\n"
    )
    status, _, told = cli("open", "nonsense", "--no-browser")
    assert status == 1
    assert told.count("\n") == 1


def test_sign_in_prints_a_link_that_works(server, cli):
    status, link, _ = cli("sign-in")

    assert status == 0
    with urllib.request.build_opener(urllib.request.HTTPCookieProcessor).open(link.strip()) as page:
        assert page.status == 200
        assert b"Sign out" in page.read()


def test_a_key_works_until_it_is_revoked(server, cli, bare_path, tmp_path):
    file = tmp_path / "key.json"
    status, told, _ = cli("keys", "create", "trainer", "-o", str(file))
    assert status == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    key = json.loads(file.read_text())
    assert key["client_email"] == "trainer@tensordeck.iam.gserviceaccount.com"
    assert key["private_key_id"] in told
    options = ("--credentials", str(file))
    listing = ("ai", "tensorboards", "list", "--region=us-central1", "--limit=1")
    assert gcloud(bare_path, *listing, options=options).returncode == 0

    listed = cli("keys", "list")[1]
    assert re.search(
        rf"^{key['private_key_id']}  service_account_key  trainer@.*active$", listed, re.MULTILINE
    )
    assert cli("keys", "revoke", key["private_key_id"])[0] == 0

    rows = {row["id"]: row for row in json.loads(cli("keys", "list", "--json")[1])}
    assert rows[key["private_key_id"]]["state"] == "revoked"
    # A server looks credentials up again after a few seconds at most.
    deadline = time.monotonic() + 30
    while (refused := gcloud(bare_path, *listing, options=options)).returncode == 0:
        assert time.monotonic() < deadline
    assert refused.returncode == 1
    assert "ERROR: (gcloud.ai.tensorboards.list)" in refused.stderr


def test_a_key_is_never_written_over_a_file(cli, tmp_path):
    file = tmp_path / "key.json"
    file.write_text("precious")

    status, _, told = cli("keys", "create", "trainer", "-o", str(file))

    assert (status, file.read_text()) == (1, "precious")
    assert "exists already" in told


def test_a_key_that_can_t_be_written_is_revoked_again(cli, tmp_path):
    def active() -> int:
        return sum(row["state"] == "active" for row in json.loads(cli("keys", "list", "--json")[1]))

    before = active()

    assert cli("keys", "create", "trainer", "-o", str(tmp_path / "no" / "key.json"))[0] == 1

    assert active() == before


@pytest.mark.parametrize("wrong", ["Not An Email", "a@", "@b", "x" * 400])
def test_an_account_that_can_t_be_is_refused(cli, wrong):
    status, _, told = cli("keys", "create", wrong)

    assert status == 1
    assert told.count("\n") == 1


def test_revoking_what_is_not_there_is_told(cli):
    status, _, told = cli("keys", "revoke", "none")

    assert status == 1
    assert "none" in told


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Event files of two runs, as PyTorch users write them."""
    from tensorboardX import SummaryWriter

    for run in ("lr-1", "lr-2"):
        with SummaryWriter(str(tmp_path / "logs" / run)) as writer:
            for step in range(20):
                writer.add_scalar("loss/train", 1 / (step + 1), step)
    return tmp_path / "logs"


def test_what_is_uploaded_can_be_exported(cli, instance, logs, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    number = instance.rpartition("/")[2]

    status, told, error = cli("upload", str(logs), "--experiment", "e", "--tensorboard", number)
    assert status == 0, error
    assert told.startswith("40 points of 2 runs uploaded to http://localhost:")
    assert told.endswith("+experiments+e/\n")

    out = tmp_path / "metrics.csv"
    status, told, _ = cli("export", f"{instance}/experiments/e", "-o", str(out))
    assert (status, told) == (0, f"40 rows written to {out}.\n")
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert {(row["run"], row["tag"]) for row in rows} == {
        ("lr-1", "loss/train"),
        ("lr-2", "loss/train"),
    }
    assert [int(row["step"]) for row in rows[:20]] == list(range(20))

    out = tmp_path / "metrics.jsonl"
    assert cli("export", f"{instance}/experiments/e/runs/lr-1", "-o", str(out))[0] == 0
    assert [json.loads(line)["step"] for line in out.read_text().splitlines()] == list(range(20))


def test_following_ends_with_ctrl_c_and_brings_what_is_there(server, cli, instance, logs, tmp_path):
    environ = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
    following = subprocess.Popen(
        [
            sys.executable, "-m", "tensordeck", "upload", str(logs), "--experiment", "live",
            "--tensorboard", instance, "--follow", "--data-dir", str(server.data_dir),
        ],
        stdout=subprocess.PIPE, text=True, env=environ,
    )  # fmt: skip
    out = tmp_path / "rows.csv"

    def rows() -> int:
        status, _, _ = cli("export", f"{instance}/experiments/live", "-o", str(out))
        return len(out.read_text().splitlines()) - 1 if status == 0 else 0

    deadline = time.monotonic() + 120
    while rows() < 40:
        assert time.monotonic() < deadline
    following.send_signal(signal.SIGINT)

    said = following.communicate(timeout=60)[0]
    assert following.returncode == 0
    assert said.startswith("40 points of 2 runs uploaded to ")


def test_export_can_go_to_a_pipe(server, cli, instance, logs, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert cli("upload", str(logs), "--experiment", "e", "--tensorboard", instance)[0] == 0

    done = subprocess.run(
        [
            sys.executable, "-m", "tensordeck", "export", f"{instance}/experiments/e",
            "-o", "-", "--format", "csv", "--data-dir", str(server.data_dir),
        ],
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert len(done.stdout.splitlines()) == 41
    assert done.stderr == "40 rows written to -.\n"


def test_transfers_tell_what_is_wrong_with_their_arguments(cli, instance, tmp_path):
    there = ("--experiment", "e", "--tensorboard", instance)
    for arguments, word in (
        (("upload", str(tmp_path / "none"), *there), "not a directory"),
        (("upload", str(tmp_path), "--experiment", "e", "--tensorboard", "1"), "no instance 1"),
        (("upload", str(tmp_path), "--experiment", "é!", "--tensorboard", instance), "experiment"),
        (("export", instance, "-o", str(tmp_path / "x.xlsx")), "--format"),
        (("export", f"{instance}/experiments/none", "-o", str(tmp_path / "x.csv")), "not found"),
        (("export", "nonsense", "-o", str(tmp_path / "x.csv")), "resource"),
    ):
        status, _, told = cli(*arguments)

        assert status == 1, arguments
        assert told.startswith("tensordeck: ")
        assert told.count("\n") == 1
        assert word in told
    assert not list(tmp_path.glob("*.csv"))
