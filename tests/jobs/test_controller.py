"""The controller: whose job it is, what becomes of it, and what it leaves."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tensordeck.access import open_access
from tensordeck.errors import Unavailable
from tensordeck.jobs.executor import Phase
from tensordeck.jobs.housekeeping import clean
from tensordeck.jobs.job_log import LogWriter, read
from tensordeck.services.job_states import JobStates
from tensordeck.settings import Settings
from tensordeck.store import open_store
from tensordeck.store.resources import CustomJob, JobState
from tests.jobs.scripted_host import Installation, ScriptedHost, Started, eventually

LONG_AGO = 1_000_000


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    store = open_store(Settings(data_dir=tmp_path / "here"))
    installation = Installation(store, tmp_path)
    yield installation
    for controller in installation.controllers:
        controller.stop(5)
    store.close()


@pytest.fixture
def host() -> ScriptedHost:
    return ScriptedHost()


def started(host: ScriptedHost, number: int = 1) -> Started:
    eventually(lambda: len(host.attempts) >= number)
    return host.attempts[number - 1]


def keys(installation: Installation) -> list[str]:
    access = open_access(installation.store.catalog, installation.settings("here"))
    return [c.principal for c in access.list_credentials() if c.kind == "service_account_key"]


def test_a_job_goes_from_waiting_to_its_end(installation, host):
    installation.serve(host)
    name = installation.submit(serviceAccount="trainer@p.iam.gserviceaccount.com")

    attempt = started(host)
    assert installation.job(name).state is JobState.PENDING
    key = json.loads(
        Path(attempt.launch.replicas[0].env["GOOGLE_APPLICATION_CREDENTIALS"]).read_text()
    )
    assert key["client_email"] == "trainer@p.iam.gserviceaccount.com"
    assert keys(installation) == ["trainer@p.iam.gserviceaccount.com"]
    attempt.becomes(Phase.RUNNING)
    assert installation.is_in(name, JobState.RUNNING).start_time
    attempt.becomes(Phase.SUCCEEDED, exit_code=0)

    job = installation.ended(name)
    assert job.state is JobState.SUCCEEDED
    assert job.end_time >= job.start_time
    assert job.error == {}
    assert keys(installation) == []


def test_what_a_job_leaves_is_in_its_bucket_when_it_has_ended(installation, host):
    installation.serve(host)
    name = installation.submit(baseOutputDirectory={"outputUriPrefix": "gs://outputs/run-1"})

    attempt = started(host)
    model_dir = attempt.launch.replicas[0].env["AIP_MODEL_DIR"]
    Path(model_dir + "model.bin").write_bytes(b"weights")
    attempt.becomes(Phase.SUCCEEDED)

    assert installation.ended(name).state is JobState.SUCCEEDED
    stored = installation.storage.read_object("outputs", "run-1/model/model.bin")
    assert b"".join(stored) == b"weights"


def test_an_attempt_finds_the_checkpoints_of_the_one_before(installation, host):
    installation.serve(host)
    name = installation.submit(baseOutputDirectory={"outputUriPrefix": "gs://outputs/run-1/"})
    first = started(host)
    first.becomes(Phase.RUNNING)
    Path(first.launch.replicas[0].env["AIP_CHECKPOINT_DIR"] + "epoch-3").write_bytes(b"weights")

    first.becomes(Phase.LOST)
    second = started(host, 2)

    found = Path(second.launch.replicas[0].env["AIP_CHECKPOINT_DIR"] + "epoch-3")
    assert found.read_bytes() == b"weights"
    assert not found.is_relative_to(first.launch.folder)
    second.becomes(Phase.SUCCEEDED)
    assert installation.ended(name).state is JobState.SUCCEEDED


def test_a_program_that_fails_is_quoted(installation, host):
    installation.serve(host)
    name = installation.submit()
    attempt = started(host)
    with LogWriter(attempt.launch.folder / "logs", "workerpool0-0") as log:
        log.append("\n".join(f"line {number}" for number in range(100)))
        log.append("ValueError: no data")

    attempt.becomes(Phase.FAILED, exit_code=1)

    job = installation.ended(name)
    assert job.state is JobState.FAILED
    assert job.error["code"] == 3
    message = job.error["message"]
    assert "The replica workerpool0-0 exited with a non-zero status of 1." in message
    assert "line 98\nline 99\nValueError: no data\n" in message
    assert "line 50\n" not in message
    assert message.endswith(f"tensordeck jobs logs {name.rpartition('/')[2]}")


def test_a_job_that_is_cancelled_is_ended(installation, host):
    controller = installation.serve(host)
    name = installation.submit()
    attempt = started(host)
    attempt.becomes(Phase.RUNNING)
    installation.is_in(name, JobState.RUNNING)

    JobStates(installation.store.catalog).request_cancel(name)
    controller.wake()

    job = installation.ended(name)
    assert job.state is JobState.CANCELLED
    assert job.error["code"] == 1
    assert attempt.cancelled.is_set()


def test_a_worker_s_failure_ends_the_whole_job(installation, host):
    installation.serve(host)
    name = installation.submit(pools=2)
    attempt = started(host)
    attempt.becomes(Phase.RUNNING)

    attempt.becomes(Phase.FAILED, 1, exit_code=9)

    assert "workerpool1-0" in installation.ended(name).error["message"]
    assert attempt.cancelled.is_set()
    assert attempt.replicas[0].phase is Phase.CANCELLED


def test_parameter_servers_end_with_the_job(installation, host):
    installation.serve(host)
    name = installation.submit(pools=3)
    attempt = started(host)
    attempt.becomes(Phase.RUNNING)

    attempt.becomes(Phase.SUCCEEDED, 0)
    attempt.becomes(Phase.SUCCEEDED, 1)

    assert installation.ended(name).state is JobState.SUCCEEDED
    assert attempt.replicas[2].phase is Phase.CANCELLED


def test_no_two_servers_run_a_job(installation, host):
    names = [installation.submit() for _ in range(12)]
    for place in ("here", "there", "elsewhere"):
        installation.serve(host, place, parallel_jobs=5)

    eventually(lambda: len(host.attempts) >= len(names))
    for attempt in host.attempts:
        attempt.becomes(Phase.SUCCEEDED)
    for name in names:
        assert installation.ended(name).state is JobState.SUCCEEDED
    assert sorted(attempt.launch.job_id for attempt in host.attempts) == sorted(
        name.rpartition("/")[2] for name in names
    )


def test_only_so_many_jobs_run_at_a_time(installation, host):
    installation.serve(host, parallel_jobs=2)
    names = [installation.submit() for _ in range(4)]

    started(host, 2)
    running = {attempt.launch.job_id for attempt in host.attempts}
    assert running == {name.rpartition("/")[2] for name in names[:2]}
    assert {installation.job(name).state for name in names[2:]} == {JobState.QUEUED}
    host.attempts[0].becomes(Phase.SUCCEEDED)
    assert started(host, 3).launch.job_id == names[2].rpartition("/")[2]
    assert installation.job(names[3]).state is JobState.QUEUED


def test_the_next_server_on_a_data_directory_takes_a_job_up(installation, host):
    first = installation.serve(host)
    name = installation.submit(baseOutputDirectory={"outputUriPrefix": "gs://outputs/run-1"})
    attempt = started(host)
    attempt.becomes(Phase.RUNNING)
    installation.is_in(name, JobState.RUNNING)
    first.stop(5)
    Path(attempt.launch.replicas[0].env["AIP_MODEL_DIR"] + "late").write_bytes(b"late")

    assert not attempt.cancelled.is_set()
    installation.serve(host)
    eventually(lambda: installation.job(name).lease_owner)
    attempt.becomes(Phase.SUCCEEDED)

    assert installation.ended(name).state is JobState.SUCCEEDED
    assert len(host.attempts) == 1
    stored = installation.storage.read_object("outputs", "run-1/model/late")
    assert b"".join(stored) == b"late"


def test_a_job_whose_server_is_on_its_way_back_is_left_alone(installation, host):
    name = installation.submit()
    held = {"state": JobState.RUNNING, "attempt": 1, "handle": {"number": 0}}
    in_a_minute = int((time.time() - 60) * 1e6)
    installation.change(name, {**held, "lease_owner": "gone/1", "lease_until": in_a_minute})

    installation.serve(host)
    other = installation.submit()

    started(host)
    assert host.attempts[0].launch.job_id == other.rpartition("/")[2]
    assert installation.job(name).lease_owner == "gone/1"


def test_a_job_whose_server_is_gone_starts_again(installation, host):
    name = installation.submit()
    held = {"state": JobState.RUNNING, "attempt": 1, "handle": {"number": 0}}
    installation.change(name, {**held, "lease_owner": "gone/1", "lease_until": LONG_AGO})

    installation.serve(host)

    assert started(host).launch.attempt == 2
    host.attempts[0].becomes(Phase.SUCCEEDED)
    assert installation.ended(name).state is JobState.SUCCEEDED


def test_a_job_whose_server_is_gone_fails_where_it_may_not_start_again(installation, host):
    name = installation.submit(scheduling={"disableRetries": True})
    held = {"state": JobState.RUNNING, "attempt": 1, "handle": {"number": 0}}
    installation.change(name, {**held, "lease_owner": "gone/1", "lease_until": LONG_AGO})

    installation.serve(host)

    job = installation.ended(name)
    assert job.state is JobState.FAILED
    assert "gone" in job.error["message"]
    assert host.attempts == []


def test_a_job_that_is_lost_again_and_again_fails_in_the_end(installation, host):
    installation.serve(host)
    name = installation.submit()
    for number in (1, 2, 3):
        attempt = started(host, number)
        attempt.becomes(Phase.RUNNING)
        attempt.becomes(Phase.LOST, reason="The host was restarted.")

    job = installation.ended(name)
    assert job.state is JobState.FAILED
    assert job.attempt == 3
    assert "The host was restarted." in job.error["message"]
    assert [attempt.launch.attempt for attempt in host.attempts] == [1, 2, 3]
    said = [line.text for line in read(host.attempts[0].launch.folder / "logs").lines]
    assert any("attempt 2 of 3" in line for line in said)


def test_a_job_that_was_lost_may_forbid_another_attempt(installation, host):
    installation.serve(host)
    name = installation.submit(scheduling={"disableRetries": True})

    started(host).becomes(Phase.LOST, reason="The host was restarted.")

    assert installation.ended(name).state is JobState.FAILED
    assert len(host.attempts) == 1


def test_who_loses_a_job_ends_its_processes_and_leaves_its_row(installation, host):
    controller = installation.serve(host)
    name = installation.submit()
    attempt = started(host)
    attempt.becomes(Phase.RUNNING)
    installation.is_in(name, JobState.RUNNING)

    far = int((time.time() + 3600) * 1e6)
    installation.change(name, {"lease_owner": "another/1", "lease_until": far})
    controller.wake()

    assert attempt.cancelled.wait(10)
    eventually(lambda: keys(installation) == [])
    job = installation.job(name)
    assert (job.state, job.lease_owner) == (JobState.RUNNING, "another/1")


def test_a_job_that_has_waited_too_long_fails(installation, host):
    name = installation.submit(scheduling={"maxWaitDuration": "0.000001s"})

    installation.serve(host)

    job = installation.ended(name)
    assert job.state is JobState.FAILED
    assert job.error["code"] == 4
    assert "max_wait_duration" in job.error["message"]
    assert host.attempts == []


def test_a_restarted_job_has_only_the_rest_of_its_time(installation, host):
    installation.serve(host)
    name = installation.submit(scheduling={"timeout": "3600s"})
    first = started(host)
    assert first.launch.timeout_seconds == 3600
    first.becomes(Phase.RUNNING)
    job = installation.is_in(name, JobState.RUNNING)
    installation.change(name, {"start_time": job.start_time - 600_000_000})

    first.becomes(Phase.LOST)

    assert 2900 < started(host, 2).launch.timeout_seconds < 3001


ACCELERATED = {
    "machineSpec": {
        "machineType": "n1-standard-4",
        "acceleratorType": "NVIDIA_TESLA_T4",
        "acceleratorCount": 1,
    },
    "replicaCount": "1",
    "containerSpec": {"imageUri": "python"},
}


def test_an_accelerator_that_is_not_here_is_said(installation, host):
    installation.serve(host)

    job = installation.ended(installation.submit(workerPoolSpecs=[ACCELERATED]))

    assert job.state is JobState.FAILED
    assert job.error == {"code": 9, "message": "This host has no such accelerator."}


def test_a_linked_instance_that_was_deleted_is_named(installation, host):
    installation.serve(host)
    gone = "projects/p/locations/us-central1/tensorboards/7"

    job = installation.ended(installation.submit(tensorboard=gone))

    assert job.state is JobState.FAILED
    assert job.error["code"] == 5
    assert gone in job.error["message"]


def test_folders_of_old_jobs_keep_their_logs_and_those_of_deleted_ones_go(installation, host):
    installation.serve(host)
    names = [installation.submit() for _ in range(3)]
    for number in (1, 2, 3):
        started(host, number).becomes(Phase.SUCCEEDED)
    old, deleted, fresh = names
    for name in names:
        installation.ended(name)
    week = 8 * 86_400 * 1_000_000
    installation.change(old, {"end_time": installation.job(old).end_time - week})
    installation.store.catalog.delete(CustomJob, deleted)

    clean(installation.means(host))

    folders = {
        name: installation.folder / "here" / "jobs" / name.rpartition("/")[2] / "1"
        for name in names
    }
    assert {path.name for path in folders[old].iterdir()} == {"logs", "attempt.json"}
    assert not folders[deleted].exists()
    assert (folders[fresh] / "home").is_dir()


BUILD = """
import sys
from pathlib import Path
from tensordeck.jobs.process import cache
cache.build(Path(sys.argv[1]), lambda: {}, lambda: None)
"""


def test_environments_that_no_job_has_used_for_days_go_and_the_others_stay(installation, host):
    means = installation.means(host)
    environments = means.settings.data_dir.absolute() / "environments"
    names = ("unused", "packages/unused", "used")
    for name in names:  # a process each: who has built one uses it as long as it lives
        subprocess.run([sys.executable, "-c", BUILD, environments / name], check=True)
    long_ago = time.time() - (means.settings.keep_jobs_days + 1) * 86_400
    for name in names[:2]:
        os.utime(environments / name / "complete.json", (long_ago, long_ago))

    clean(means)

    assert [name for name in names if (environments / name).exists()] == ["used"]


def test_processes_of_a_job_that_went_elsewhere_meanwhile_are_ended(installation, host):
    first = installation.serve(host)
    name = installation.submit()
    attempt = started(host)
    first.stop(5)
    far = int((time.time() + 3600) * 1e6)
    installation.change(name, {"lease_owner": "another/1", "lease_until": far})

    installation.serve(host)

    assert attempt.cancelled.wait(10)


class Refusing(ScriptedHost):
    """A host on which nothing can be started, or nothing be told."""

    def __init__(self, *, start: bool = False, poll: bool = False) -> None:
        super().__init__()
        self.refuses_start, self.refuses_poll = start, poll

    def start(self, launch):
        if self.refuses_start:
            raise Unavailable("There is no space left on this host.")
        return super().start(launch)

    def poll(self, handle):
        if self.refuses_poll:
            raise OSError("the status can't be read")
        return super().poll(handle)


def test_a_host_that_can_t_start_a_job_fails_it(installation):
    installation.serve(Refusing(start=True))

    job = installation.ended(installation.submit())

    assert job.state is JobState.FAILED
    assert job.error["message"] == "There is no space left on this host."
    assert keys(installation) == []


def test_a_job_that_can_t_be_looked_after_fails_and_is_ended(installation):
    host = Refusing()
    installation.serve(host)
    name = installation.submit()
    attempt = started(host)
    attempt.becomes(Phase.RUNNING)
    installation.is_in(name, JobState.RUNNING)

    host.refuses_poll = True

    job = installation.ended(name)
    assert job.state is JobState.FAILED
    assert job.error["code"] == 13
    assert "the status can't be read" in job.error["message"]
    assert keys(installation) == []
    assert attempt.cancelled.is_set()


def test_a_job_outlasts_a_database_that_is_away(installation, host, monkeypatch):
    installation.serve(host)
    name = installation.submit()
    attempt = started(host)
    attempt.becomes(Phase.RUNNING)
    installation.is_in(name, JobState.RUNNING)

    def away(*_args, **_options):
        refused.set()
        raise Unavailable("The database is away.")

    refused = threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(installation.store.catalog, "update", away)
        attempt.becomes(Phase.SUCCEEDED)
        assert refused.wait(10)

    assert installation.ended(name).state is JobState.SUCCEEDED
    assert len(host.attempts) == 1
