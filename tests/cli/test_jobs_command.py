"""`tensordeck jobs` and gcloud's `ai custom-jobs` against a real server with real, light jobs."""

import contextlib
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import urllib.request
from dataclasses import dataclass

import pytest

from tensordeck.cli import gcloud as built_in_gcloud
from tensordeck.cli import main
from tensordeck.cli.endpoint import locate

PLACE = "projects/shed/locations/us-central1"
POOL = (
    "--worker-pool-spec=machine-type=n1-standard-4,replica-count=1,"
    "container-image-uri=tensordeck/server"
)
IN_PLACE = ("--region=us-central1", "--project=shed")


@dataclass(frozen=True)
class Jobs:
    """Makes jobs on a server."""

    url: str
    token: str

    def call(self, method: str, path: str, body=None):
        request = urllib.request.Request(
            f"{self.url}/v1/{path}",
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request) as reply:
            return json.load(reply)

    def start(self, script: str, name: str = "light", **spec) -> str:
        """Starts a job of one replica (of `replicas` in two pools); returns its number."""
        replicas = spec.pop("replicas", 1)
        pool = {
            "machineSpec": {"machineType": "n1-standard-4"},
            "replicaCount": 1,
            "containerSpec": {
                "imageUri": "tensordeck/server",
                "command": ["python", "-c", textwrap.dedent(script)],
            },
        }
        more = [{**pool, "replicaCount": replicas - 1}] if replicas > 1 else []
        job = {"displayName": name, "jobSpec": {"workerPoolSpecs": [pool, *more], **spec}}
        return self.call("POST", f"{PLACE}/customJobs", job)["name"].rpartition("/")[2]

    def reaches(self, number: str, state: str) -> None:
        """Polls, as the client does, until the job is in a state; fails if it never is."""
        deadline = time.monotonic() + 60
        while (found := self.call("GET", f"{PLACE}/customJobs/{number}")["state"]) != state:
            assert time.monotonic() < deadline, found
            time.sleep(0.05)


@pytest.fixture
def jobs(server) -> Jobs:
    return Jobs(server.url, server.token)


@pytest.fixture
def cli(server, monkeypatch, capsys):
    """Runs `tensordeck jobs ...` in this process; returns (status, output, errors)."""
    monkeypatch.setenv("TENSORDECK_DATA_DIR", str(server.data_dir))
    monkeypatch.delenv("TENSORDECK_URL", raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main(["jobs", *arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def on_a_terminal(*arguments: str) -> str:
    """What a command writes to a terminal."""
    ours, its = pty.openpty()
    command = [sys.executable, "-m", "tensordeck", *arguments]
    environ = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    with subprocess.Popen(command, stdout=its, env=environ) as running:
        os.close(its)
        written = b""
        with contextlib.suppress(OSError):  # what Linux answers at the end
            while block := os.read(ours, 65_536):
                written += block
        os.close(ours)
    assert running.returncode == 0
    return written.decode()


def lines_of(log: str) -> list[str]:
    """A log's lines without their times."""
    return [re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", "", line) for line in log.splitlines()]


def test_a_job_is_followed_to_its_end_and_told_about(cli, jobs):
    number = jobs.start("import sys; print('hello'); print('careful', file=sys.stderr)", "first")

    status, log, told = cli("logs", number, "--follow")

    assert status == 0, told
    assert {"  hello", "E careful"} <= set(lines_of(log))
    assert "  service: The job has succeeded." in lines_of(log)
    assert re.fullmatch(rf"Job {number}: SUCCEEDED after [\d.]+ s\.\n", told)
    status, text, _ = cli("describe", number)
    assert status == 0
    assert text.startswith(f"Job {number}: first\n")
    assert f"  resource   {PLACE}/customJobs/{number}\n" in text
    assert "1 x n1-standard-4, tensordeck/server\n" in text
    assert json.loads(cli("describe", number, "--format", "json")[1])["displayName"] == "first"
    listed = cli("list", "--filter", f'name="{PLACE}/customJobs/{number}"')[1].splitlines()
    assert listed[0].split() == ["ID", "STATE", "CREATED", "DURATION", "NAME"]
    assert listed[1].split()[:2] == [number, "SUCCEEDED"]
    assert listed[1].endswith("first")


def test_a_job_that_fails_makes_the_command_fail_and_its_replicas_are_told_apart(
    cli, jobs, server, tmp_path
):
    number = jobs.start(
        f"""
        import json, os, pathlib, sys, time
        first_spoke = pathlib.Path({str(tmp_path / "spoken")!r})
        task = json.loads(os.environ["CLUSTER_SPEC"])["task"]
        print("I am", task["type"], flush=True)
        if task["type"] == "workerpool0":
            first_spoke.touch()
            time.sleep(100)  # until the job has failed
        while not first_spoke.exists():
            time.sleep(0.01)
        sys.exit(3)
        """,
        replicas=2,
    )

    status, log, told = cli("logs", f"{PLACE}/customJobs/{number}", "--follow")

    assert status == 1
    assert "  workerpool0-0 I am workerpool0" in lines_of(log)
    assert "  workerpool1-0 I am workerpool1" in lines_of(log)
    assert "E service       The job has failed." in lines_of(log)
    assert re.match(rf"Job {number}: FAILED after .*workerpool1-0.* status of 3", told)
    only = cli("logs", number, "--replica", "workerpool1-0")[1]
    assert lines_of(only) == ["  workerpool1-0 I am workerpool1"]
    explained = cli("describe", number)[1]
    assert re.search(r"^The replica workerpool1-0 .*status of 3", explained, re.MULTILINE)
    assert f"tensordeck jobs logs {number}" in explained
    assert "\x1b[31m" in on_a_terminal("jobs", "logs", number, "--data-dir", str(server.data_dir))
    status, _, told = cli("logs", number, "--replica", "workerpool2-0")
    assert status == 1
    assert "it has workerpool0-0, workerpool1-0, service." in told


def test_the_end_of_a_long_log_is_shown_and_the_whole_of_it(cli, jobs):
    number = jobs.start("for n in range(2500): print(n)")
    assert cli("logs", number, "--follow", "--replica", "workerpool0-0")[0] == 0

    whole = lines_of(cli("logs", number, "--replica", "workerpool0-0")[1])
    tail = cli("logs", number, "--replica", "workerpool0-0", "--tail", "3")[1]
    rows = cli("logs", number, "--replica", "workerpool0-0", "--format", "json")[1]

    assert [line.strip() for line in whole] == [str(n) for n in range(2500)]
    assert lines_of(tail) == ["  2497", "  2498", "  2499"]
    assert [json.loads(row)["jsonPayload"]["message"] for row in rows.splitlines()] == [
        str(n) for n in range(2500)
    ]


def test_a_linked_job_s_dashboard_is_named(cli, jobs, server):
    operation = jobs.call("POST", f"{PLACE}/tensorboards", {"displayName": "deck"})
    instance = operation["response"]["name"]
    number = jobs.start(
        "print('x')", tensorboard=instance, serviceAccount="t@shed.iam.gserviceaccount.com"
    )

    board = f"{instance}/experiments/{number}".replace("/", "+")

    assert (
        f"  dashboard  http://localhost:{server.port}/experiment/{board}/\n"
        in (cli("describe", number)[1])
    )


def test_ctrl_c_leaves_a_job_running_and_cancel_ends_it(cli, jobs, server):
    number = jobs.start(
        """
        import time
        while True:
            print("tick", flush=True)
            time.sleep(0.1)
        """
    )
    following = subprocess.Popen(
        [
            *(sys.executable, "-m", "tensordeck", "jobs", "logs", number, "--follow"),
            *("--data-dir", str(server.data_dir)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert any("tick" in line for line in following.stdout)
    following.send_signal(signal.SIGINT)

    told = following.communicate(timeout=60)[1]
    assert following.returncode == 130
    assert f"The job goes on; `tensordeck jobs cancel {number}` ends it." in told
    # What the program prints is often here before its state, which is polled.
    jobs.reaches(number, "JOB_STATE_RUNNING")

    status, told, _ = cli("cancel", number)
    assert (status, told.startswith(f"Job {number} is being cancelled.")) == (0, True)
    assert cli("logs", number, "--follow", "--tail", "1")[0] == 1
    assert cli("cancel", number)[:2] == (
        0,
        f"Job {number} has ended already: it is CANCELLED.\n",
    )


@pytest.mark.heavy
def test_an_empty_list_teaches_and_following_survives_a_restart(fresh_server, cli, monkeypatch):
    monkeypatch.setenv("TENSORDECK_DATA_DIR", str(fresh_server.data_dir))
    status, text, told = cli("list")
    assert (status, text) == (0, "")
    assert "tensordeck exec -- gcloud ai custom-jobs create" in told

    jobs = Jobs(fresh_server.url, fresh_server.token)
    number = jobs.start(
        """
        import time
        for n in range(60):
            print(n, flush=True)
            time.sleep(0.1)
        """
    )
    following = subprocess.Popen(
        [
            *(sys.executable, "-m", "tensordeck", "jobs", "logs", number, "--follow"),
            *("--replica", "workerpool0-0", "--data-dir", str(fresh_server.data_dir)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    first = following.stdout.readline()
    fresh_server.kill()
    fresh_server.start()

    rest = following.stdout.read()
    told = following.stderr.read()

    assert following.wait() == 0, told
    assert [line.split()[-1] for line in (first + rest).splitlines()] == [str(n) for n in range(60)]


def test_a_pipeline_s_number_and_the_client_s_link_lead_to_its_job(cli, jobs):
    pool = {
        "machine_spec": {"machine_type": "n1-standard-4"},
        "replica_count": 1,
        "container_spec": {"image_uri": "tensordeck/server", "command": ["python", "-c", "pass"]},
    }
    pipeline = jobs.call(
        "POST",
        f"{PLACE}/trainingPipelines",
        {
            "displayName": "piped",
            "trainingTaskDefinition": "gs://google-cloud-aiplatform/schema/trainingjob/"
            "definition/custom_task_1.0.0.yaml",
            "trainingTaskInputs": {"worker_pool_specs": [pool]},
        },
    )
    job = pipeline["trainingTaskMetadata"]["backingCustomJob"]
    number = pipeline["name"].rpartition("/")[2]
    link = (
        "https://console.cloud.google.com/ai/platform/locations/us-central1/training/"
        f"{number}?project=shed"
    )

    for given in (number, pipeline["name"], link):
        text = cli("describe", given)[1]
        assert f"  resource   {job}\n" in text
        assert f"  pipeline   {pipeline['name']}\n" in text


def test_lists_are_narrowed_and_cut(cli, jobs):
    number = jobs.start("pass", "needle \x1b[2Jin a list")

    needle = ("list", "--filter", 'display_name:"needle"')
    assert cli(*needle)[1].endswith("needle  [2Jin a list\n")
    named = cli(*needle, "--format", "json")[1]
    assert [job["name"] for job in json.loads(named)] == [f"{PLACE}/customJobs/{number}"]
    assert cli("list", "--project", "nobody") == (0, "", "No job matches.\n")
    jobs.start("pass")
    status, text, told = cli("list", "--limit", "1")
    assert (status, len(text.splitlines())) == (0, 2)
    assert told == "There are more; --limit 4 shows them.\n"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("describe", "12"), "There is no job 12 on http://localhost:"),
        (("cancel", f"{PLACE}/customJobs/12"), "`tensordeck jobs list`"),
        (("logs", "mine"), "names no job"),
        (("logs", f"{PLACE}/tensorboards/1"), "names no job"),
        (("list", "--filter", "colour=red"), "create_time, display_name"),
        (("list", "--url", "http://localhost:1", "--credentials", "x"), "No server answers"),
    ],
)
def test_what_can_t_be_is_told_in_one_line(cli, arguments, word):
    status, out, told = cli(*arguments)

    assert (status, out) == (1, "")
    assert told.startswith("tensordeck: ")
    assert told.count("\n") == 1
    assert word in told


def gcloud(environ, *arguments: str):
    """gcloud's custom-jobs as `exec` starts it, real or built in."""
    command = [sys.executable, "-m", "tensordeck", "exec", "--", "gcloud", "ai", "custom-jobs"]
    return subprocess.run(
        [*command, *arguments], env=environ, capture_output=True, text=True, check=False
    )


@pytest.fixture(
    params=[
        "built in",
        pytest.param(
            "real",
            marks=[
                pytest.mark.heavy,
                pytest.mark.skipif(not shutil.which("gcloud"), reason="gcloud is not installed"),
            ],
        ),
    ]
)
def environ(request, server):
    """An environment with gcloud or without."""
    own = {**os.environ, "TENSORDECK_DATA_DIR": str(server.data_dir)}
    return own if request.param == "real" else {**own, "PATH": "/nonexistent"}


def test_gcloud_creates_lists_describes_streams_and_cancels(environ, jobs, tmp_path):
    created = gcloud(
        *(environ, "create", "--display-name=by-flags", POOL, "--command=python", *IN_PLACE),
        *("--args=^|^-c|import sys; print('a,b'); print('c', file=sys.stderr)", "--labels=k=v"),
        "--format=value(name)",
    )
    assert created.returncode == 0, created.stderr
    name = created.stdout.strip()
    assert f"CustomJob [{name}] is submitted successfully." in created.stderr
    number = name.rpartition("/")[2]
    deadline = time.monotonic() + 60
    while not jobs.call("GET", name).get("endTime") and time.monotonic() < deadline:
        time.sleep(0.1)

    described = gcloud(environ, "describe", number, *IN_PLACE)
    assert "state: JOB_STATE_SUCCEEDED\n" in described.stdout
    assert "labels:\n  k: v\n" in described.stdout
    listed = gcloud(environ, "list", *IN_PLACE, "--format=value(name)")
    assert name in listed.stdout.splitlines()
    streamed = gcloud(environ, "stream-logs", number, *IN_PLACE, "--polling-interval=1")
    entries = [line.split("\t") for line in streamed.stdout.splitlines()]
    assert ["INFO", "workerpool0-0", "a,b"] in [[e[0], *e[2:]] for e in entries]
    assert ["ERROR", "workerpool0-0", "c"] in [[e[0], *e[2:]] for e in entries]
    assert entries[-1][2:] == ["service", "The job has succeeded."]
    cancelled = gcloud(environ, "cancel", name)
    assert cancelled.returncode == 0
    assert f"Request to cancel CustomJob [{name}] has been sent." in cancelled.stderr


def test_gcloud_reads_a_job_from_a_file(environ, jobs, tmp_path):
    config = tmp_path / "job.yaml"
    config.write_text(
        textwrap.dedent("""
        workerPoolSpecs:
        - machineSpec: {machineType: n1-standard-4}
          replicaCount: 1
          containerSpec:
            imageUri: tensordeck/server
            command: [python]
        """)
    )

    created = gcloud(
        *(environ, "create", "--display-name=by-file", f"--config={config}", *IN_PLACE),
        *("--args=-c,print(1)", "--format=value(name)"),
    )

    assert created.returncode == 0, created.stderr
    spec = jobs.call("GET", created.stdout.strip())["jobSpec"]
    assert spec["workerPoolSpecs"][0]["containerSpec"] == {
        "imageUri": "tensordeck/server",
        "command": ["python"],
        "args": ["-c", "print(1)"],
    }


@pytest.mark.heavy
@pytest.mark.skipif(not shutil.which("gcloud"), reason="gcloud is not installed")
def test_the_real_gcloud_registers_describes_lists_and_deletes_models(server):
    def models(*arguments: str):
        return server.exec("gcloud", "ai", "models", *arguments, *IN_PLACE)

    uploaded = models(
        *("upload", "--display-name=by gcloud", "--container-image-uri=example.com/serve"),
        *("--artifact-uri=gs://shed/model", "--format=value(model)"),
    )
    assert uploaded.returncode == 0, uploaded.stderr
    number = uploaded.stdout.strip().rpartition("/")[2].partition("@")[0]

    assert number in models("list", "--format=value(name.basename())").stdout.splitlines()
    described = models("describe", number, "--format=value(displayName,versionId,artifactUri)")
    assert described.stdout == "by gcloud\t1\tgs://shed/model\n", described.stderr
    assert models("delete", number, "--quiet").returncode == 0
    assert models("describe", number).returncode == 1


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("create", "--display-name=x"), "--config, --worker-pool-spec"),
        (("create", "--display-name=x", "--config=none.yaml"), "none.yaml can't be read"),
        (("create", "--display-name=x", "--worker-pool-spec=script=x.py"), "Docker"),
        (("create", "--display-name=x", "--worker-pool-spec=colour=red"), "valid keys are"),
        (("describe", "projects/p/models/1"), "Invalid value for [CUSTOM_JOB]"),
        (("stream-logs", "12"), "There is no"),
    ],
)
def test_the_built_in_gcloud_tells_what_is_wrong(server, capsys, arguments, word):
    endpoint = locate(data_dir=str(server.data_dir))

    status = built_in_gcloud.main(endpoint, {}, ["ai", "custom-jobs", *arguments, *IN_PLACE])

    out, told = capsys.readouterr()
    assert (status, out) == (1, "")
    assert f"ERROR: (gcloud.ai.custom-jobs.{arguments[0]})" in told
    assert word in told


@pytest.mark.heavy
def test_the_official_client_lists_a_job_s_entries(server, jobs, cli):
    number = jobs.start("print('over gRPC')")
    assert cli("logs", number, "--follow")[0] == 0
    script = f"""
from google.cloud import logging_v2
client = logging_v2.Client(project="shed")
entries = client.list_entries(
    filter_='resource.type="ml_job" AND resource.labels.job_id="{number}"'
)
print([e.payload["message"] for e in entries if isinstance(e.payload, dict)])
"""

    done = server.exec(sys.executable, "-c", script)

    assert done.stdout == "['over gRPC']\n", done.stderr
