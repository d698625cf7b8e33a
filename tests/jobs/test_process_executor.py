"""Jobs as processes: real ones, with the server's own Python, which is there already."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tensordeck.errors import FailedPrecondition, InvalidArgument
from tensordeck.jobs import job_log
from tensordeck.jobs.executor import Phase
from tensordeck.jobs.machine_types import machine
from tests.jobs.process_host import Host, eventually, lines, sdist, small, text


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("environments")


@pytest.fixture
def host(tmp_path: Path, environments: Path) -> Host:
    return Host(tmp_path, environments)


def test_a_packed_script_runs_as_a_module(host: Host, tmp_path: Path) -> None:
    package = sdist(tmp_path, "import sys; print('arguments', *sys.argv[1:])")
    replica = host.replica(
        command=(), module="trainer.task", packages=(package,), args=("--epochs", "3")
    )
    launch, [status] = host.run(replica)
    assert status.phase is Phase.SUCCEEDED
    assert status.exit_code == 0
    assert text(launch) == "arguments --epochs 3"


def test_a_failing_script_fails_with_its_status(host: Host) -> None:
    launch, [status] = host.run(host.replica("import sys; sys.exit('out of luck')"))
    assert status.phase is Phase.FAILED
    assert status.exit_code == 1
    assert "non-zero status of 1" in status.reason
    [line] = lines(launch)
    assert (line.text, line.severity) == ("out of luck", "ERROR")


def test_nothing_of_our_own_environment_gets_into_a_job(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENSORDECK_SECRET", "open sesame")
    replica = host.replica(
        "import os; print(sorted(os.environ)); print(os.environ['TOKEN'])", env={"TOKEN": "mine"}
    )
    launch, _ = host.run(replica)
    names, token = text(launch).splitlines()
    assert token == "mine"
    assert set(eval(names)) <= {  # noqa: S307 -- our own list
        "CUDA_VISIBLE_DEVICES", "HOME", "LANG", "LC_CTYPE", "PATH", "PYTHONUNBUFFERED",
        "TENSORDECK_PROCESS", "TMPDIR", "TOKEN", "VIRTUAL_ENV",
    }  # fmt: skip


def test_a_job_past_its_timeout_is_ended(host: Host) -> None:
    replica = host.replica("import time; print('on'); time.sleep(600)")
    _, [status] = host.run(replica, timeout_seconds=0.5)
    assert status.phase is Phase.FAILED
    assert "timeout of 0.5 s" in status.reason


def test_a_job_that_uses_too_much_memory_is_ended(host: Host) -> None:
    script = "import time; hoard = bytearray(200 << 20); print('full'); time.sleep(600)"
    _, [status] = host.run(host.replica(script, machine=small(100 << 20)))
    assert status.phase is Phase.FAILED
    assert "n1-standard-1 has 0.10 GiB" in status.reason


def test_100_mb_of_output_are_kept_in_part(host: Host) -> None:
    script = """
        import sys
        for number in range(100):
            sys.stdout.write((f"{number:04d} " + "x" * 94 + "\\n") * 10_486)
        print("the end")
    """
    launch, [status] = host.run(host.replica(script, env={"PYTHONUNBUFFERED": ""}))
    assert status.phase is Phase.SUCCEEDED
    logs = launch.folder / "logs"
    beginning = [line.text for line in job_log.read(logs, limit=100).lines]
    [end] = job_log.last(logs, "workerpool0-0", 1)
    assert beginning[-1] == "0000 " + "x" * 94
    assert end.text == "the end"
    assert 50 << 20 < sum(path.stat().st_size for path in logs.iterdir()) < 80 << 20


def test_what_a_replica_leaves_behind_is_killed(host: Host, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = f"""
        import os, time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:  # a daemon, as they are made
                open({str(pid_file)!r}, "w").write(str(os.getpid()))
                time.sleep(600)
            os._exit(0)
        while not (os.path.exists({str(pid_file)!r}) and os.path.getsize({str(pid_file)!r})):
            time.sleep(0.01)
    """
    launch, [status] = host.run(host.replica(script))
    assert status.phase is Phase.SUCCEEDED
    assert not psutil.pid_exists(int(pid_file.read_text()))
    assert "left processes behind" in text(launch, "service")


def test_cancelling_kills_what_ignores_sigterm(host: Host) -> None:
    launch, handle = host.start("""
        import signal, time
        signal.signal(signal.SIGTERM, lambda *_: print("no", flush=True))
        print("on", flush=True)
        time.sleep(600)
        time.sleep(600)
    """)
    eventually(lambda: "on" in text(launch))
    host.executor.cancel(handle)
    [status] = host.wait(handle)
    assert status.phase is Phase.CANCELLED
    assert status.exit_code == -signal.SIGKILL
    assert "no" in text(launch)


def test_the_success_of_the_chief_ends_the_others(host: Host) -> None:
    chief = host.replica("print('done')")
    worker = host.replica("import time; time.sleep(600)", pool=1)
    _, statuses = host.run(chief, worker)
    assert [status.name for status in statuses] == ["workerpool0-0", "workerpool1-0"]
    assert {status.phase for status in statuses} == {Phase.SUCCEEDED}


def test_the_others_may_finish_what_they_do_when_the_chief_has_succeeded(
    tmp_path: Path, environments: Path
) -> None:
    patient = Host(tmp_path, environments, linger_seconds=60.0)
    chief = patient.replica("print('done')")
    worker = patient.replica("import numpy; print('done, too')", pool=1)
    launch, [_, status] = patient.run(chief, worker)
    assert (status.phase, status.exit_code) == (Phase.SUCCEEDED, 0)
    assert text(launch, "workerpool1-0") == "done, too"


def test_a_replica_that_fails_ends_the_others(host: Host) -> None:
    chief = host.replica("import time; time.sleep(600)")
    worker = host.replica("raise SystemExit(3)", pool=1, index=1)
    _, [first, second] = host.run(chief, worker)
    assert (second.phase, second.exit_code) == (Phase.FAILED, 3)
    assert first.phase is Phase.CANCELLED
    assert "workerpool1-1" in first.reason


def test_a_job_goes_on_when_its_server_is_killed(
    host: Host, environments: Path, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    program = f"""
import json, os, signal
from pathlib import Path
from tests.jobs.process_host import Host
host = Host(Path({str(host.folder / "other server")!r}), Path({str(environments)!r}))
script = '''
import os, time
while not os.path.exists({str(go)!r}):
    time.sleep(0.01)
print("done")
'''
_, handle = host.start(script)
print(json.dumps(handle), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    server = subprocess.run(
        [sys.executable, "-c", program], check=False, stdout=subprocess.PIPE, text=True
    )
    assert server.returncode == -signal.SIGKILL
    handle = json.loads(server.stdout)
    eventually(lambda: host.executor.poll(handle)[0].phase is Phase.RUNNING)
    go.touch()
    [status] = host.wait(handle)
    assert status.phase is Phase.SUCCEEDED


def test_a_second_start_returns_the_first_ones_handle(host: Host) -> None:
    launch, handle = host.start("print('once')")
    assert host.executor.start(launch) == handle
    host.wait(handle)
    assert host.executor.start(launch) == handle
    assert text(launch) == "once"


def test_a_killed_supervisor_leaves_nothing_behind(host: Host, tmp_path: Path) -> None:
    pid_file = tmp_path / "pids"
    launch, handle = host.start(f"""
        import os, subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"],
                                 start_new_session=True)
        open({str(pid_file)!r}, "w").write(f"{{os.getppid()}} {{os.getpid()}} {{child.pid}}")
        print(os.environ["TMPDIR"], flush=True)
        time.sleep(600)
    """)
    temporary = Path(eventually(lambda: text(launch)))
    assert temporary.is_dir()
    supervisor, *others = map(int, pid_file.read_text().split())
    os.kill(supervisor, signal.SIGKILL)
    [status] = host.wait(handle)
    assert status.phase is Phase.LOST
    assert "supervisor is gone" in status.reason
    assert not [pid for pid in others if _alive(pid)]
    assert not temporary.exists()


def test_a_supervisor_that_is_told_to_end_ends_its_job(host: Host, tmp_path: Path) -> None:
    pid_file = tmp_path / "pids"
    launch, handle = host.start(f"""
        import os, time
        open({str(pid_file)!r}, "w").write(f"{{os.getppid()}} {{os.getpid()}}")
        print("on", flush=True)
        time.sleep(600)
    """)
    eventually(lambda: "on" in text(launch))
    supervisor, replica = map(int, pid_file.read_text().split())
    os.kill(supervisor, signal.SIGTERM)
    [status] = host.wait(handle)
    assert (status.phase, status.exit_code) == (Phase.LOST, -signal.SIGTERM)
    assert not _alive(replica)


def test_system_metrics_are_recorded(host: Host) -> None:
    launch = host.launch(host.replica("import time; time.sleep(600)"), system_metrics=True)
    handle = host.executor.start(launch)
    folder = launch.folder / "system" / "workerpool0-0"
    eventually(
        lambda: folder.is_dir() and any(file.stat().st_size > 200 for file in folder.iterdir())
    )
    host.executor.cancel(handle)
    assert host.wait(handle)[0].phase is Phase.CANCELLED


def test_a_folder_that_was_removed_is_a_lost_job(host: Host) -> None:
    launch, handle = host.start("print('on')")
    host.wait(handle)
    shutil.rmtree(launch.folder)
    host.executor.cancel(handle)
    [status] = host.executor.poll(handle)
    assert (status.name, status.phase) == ("workerpool0-0", Phase.LOST)


def test_a_job_whose_folder_is_removed_ends(host: Host, tmp_path: Path) -> None:
    pid_file = tmp_path / "pids"
    launch, handle = host.start(f"""
        import os, time
        open({str(pid_file)!r}, "w").write(f"{{os.getppid()}} {{os.getpid()}}")
        print("on", flush=True)
        time.sleep(600)
    """)
    eventually(lambda: "on" in text(launch))
    shutil.rmtree(launch.folder)
    eventually(lambda: not any(map(_alive, map(int, pid_file.read_text().split()))))
    assert host.executor.poll(handle)[0].phase is Phase.LOST


def test_a_package_that_does_not_install_says_why(host: Host, tmp_path: Path) -> None:
    package = tmp_path / "trainer-0.1.tar.gz"
    package.write_bytes(b"no archive")
    replica = host.replica(command=(), module="trainer.task", packages=(package,))
    _, [status] = host.run(replica)
    assert status.phase is Phase.FAILED
    assert "trainer-0.1.tar.gz is no Python package" in status.reason


def test_a_build_that_fails_says_why(host: Host, tmp_path: Path) -> None:
    package = sdist(tmp_path, "", files={"setup.py": "raise SystemExit('no such compiler')"})
    replica = host.replica(command=(), module="trainer.task", packages=(package,))
    launch, [status] = host.run(replica)
    assert status.phase is Phase.FAILED
    assert "could not be built" in status.reason
    assert "no such compiler" in text(launch, "service")


def test_unknown_images_say_the_way_out(host: Host) -> None:
    launch = host.launch(host.replica(image="gcr.io/mine/trainer:1"))
    with pytest.raises(InvalidArgument, match=r"gcr.io/mine/trainer:1.*\[\[image\]\]"):
        host.executor.check(launch)


def test_missing_accelerators_have_to_be_allowed(
    host: Host, tmp_path: Path, environments: Path
) -> None:
    replica = host.replica("print('on')", machine=machine("n1-standard-4", "NVIDIA_TESLA_T4", 99))
    with pytest.raises(FailedPrecondition, match="asks for 99 NVIDIA_TESLA_T4"):
        host.executor.check(host.launch(replica))
    generous = Host(tmp_path / "generous", environments, allow_missing_accelerators=True)
    launch, [status] = generous.run(replica)
    assert status.phase is Phase.SUCCEEDED
    assert "99 NVIDIA_TESLA_T4" in text(launch, "service")


def test_a_gpu_belongs_to_one_job_at_a_time(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    go = tmp_path / "go"
    script = f"""
        import os, time
        print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
        while not os.path.exists({str(go)!r}):
            time.sleep(0.01)
    """
    one, two = (machine("n1-standard-4", "NVIDIA_TESLA_T4", count) for count in (1, 2))
    first, second, third = (host.launch(host.replica(script, machine=m)) for m in (one, one, two))
    handles = [host.executor.start(first)]
    eventually(lambda: text(first) == "4")
    handles.append(host.executor.start(second))
    eventually(lambda: text(second) == "7")
    handles.append(host.executor.start(third))
    eventually(lambda: "Waits for 2 GPUs" in text(third, "service"))
    assert host.executor.poll(handles[2])[0].phase is Phase.PREPARING
    go.touch()
    assert [host.wait(handle)[0].phase for handle in handles] == [Phase.SUCCEEDED] * 3
    assert text(third) == "4,7"


def test_the_replicas_of_a_job_share_its_gpus_out(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    script = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"
    launch, _ = host.run(
        host.replica(script, pool=0, machine=machine("n1-standard-4", "NVIDIA_TESLA_T4", 2)),
        host.replica(script, pool=1, machine=machine("n1-standard-4", "NVIDIA_TESLA_T4", 1)),
        host.replica(script, pool=2),
    )
    assert [text(launch, f"workerpool{pool}-0") for pool in range(3)] == ["0,1", "2", ""]


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
