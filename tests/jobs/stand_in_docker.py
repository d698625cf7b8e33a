"""A `docker` that records how it is called, and runs containers as plain processes.

There is no engine on the machines that these tests must run on, only now and then its client. What
is tested with this is what the real command would be told, and what is made of its answers: their
forms are those of docker 28. State lies in the folder that STAND_IN_DOCKER names; a file `down`
there makes it answer as the client does whose engine is away.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(os.environ["STAND_IN_DOCKER"])
FLAGS = ("--detach", "--init")
PAUSE = 0.02


def fail(text: str, code: int = 1) -> None:
    sys.stderr.write(f"{text}\n")
    sys.exit(code)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def folder(name: str) -> Path:
    path = ROOT / "containers" / name
    if not path.is_dir():
        fail(f"Error response from daemon: No such container: {name}")
    return path


def state(name: str) -> dict:
    return json.loads((folder(name) / "state.json").read_text())


def change(name: str, **fields: object) -> None:
    path = ROOT / "containers" / name / "state.json"
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
    draft.replace(path)


def stamp() -> bytes:
    now = time.time_ns()
    moment = datetime.fromtimestamp(now // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{moment}.{now % 10**9:09d}Z ".encode()


def run(words: list[str]) -> None:
    options: dict[str, list[str]] = {}
    while words[0].startswith("--"):
        option = words.pop(0)
        options.setdefault(option, []).append("" if option in FLAGS else words.pop(0))
    _image, *rest = words
    env = {"PATH": (ROOT / "path").read_text()}
    for line in Path(options["--env-file"][0]).read_text().splitlines():
        name, _, value = line.partition("=")
        env[name] = value
    env |= {name: os.environ[name] for name in options.get("--env", [])}
    name = options["--name"][0]
    path = ROOT / "containers" / name
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        fail(
            f'Error response from daemon: Conflict. The container name "/{name}" is already in use',
            125,
        )
    document = {
        "command": [*options.get("--entrypoint", []), *rest],
        "env": env,
        "labels": dict(label.split("=", 1) for label in options.get("--label", [])),
    }
    (path / "container.json").write_text(json.dumps(document))
    begin = {"Status": "created", "ExitCode": 0, "OOMKilled": False, "Pid": 0, "Error": ""}
    (path / "state.json").write_text(json.dumps(begin))
    subprocess.Popen(
        [sys.executable, __file__, "engine", name],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while state(name)["Status"] == "created":
        time.sleep(PAUSE)


def engine(name: str) -> None:
    """What the engine does with a container."""
    path = ROOT / "containers" / name
    container = json.loads((path / "container.json").read_text())
    process = subprocess.Popen(
        container["command"],
        env=container["env"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    started_at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    change(name, Status="running", Pid=process.pid, StartedAt=started_at)

    def copy(kind: str) -> None:
        with (path / kind).open("ab", buffering=0) as file:
            for line in getattr(process, kind):
                file.write(stamp() + line)

    copiers = [threading.Thread(target=copy, args=(kind,)) for kind in ("stdout", "stderr")]
    for copier in copiers:
        copier.start()
    code = process.wait()
    for copier in copiers:
        copier.join()
    # What can't be brought about here: a test says that it was so.
    told = json.loads(container["env"].get("STAND_IN_STATE", "{}"))
    change(name, Status="exited", Pid=0, ExitCode=code if code >= 0 else 128 - code, **told)


def logs(words: list[str]) -> None:
    since, name = "", words[-1]
    if "--since" in words:
        since = words[words.index("--since") + 1]
    path = folder(name)
    places = {"stdout": 0, "stderr": 0}
    while True:
        over = state(name)["Status"] == "exited"
        for kind, sink in (("stdout", sys.stdout.buffer), ("stderr", sys.stderr.buffer)):
            file = path / kind
            data = file.read_bytes()[places[kind] :] if file.exists() else b""
            if not over:
                data = data[: data.rfind(b"\n") + 1]
            places[kind] += len(data)
            for line in data.splitlines(keepends=True):
                if line.partition(b" ")[0].decode() >= since:
                    sink.write(line)
            sink.flush()
        if over or (ROOT / "down").exists():
            return
        time.sleep(PAUSE)


def stop(words: list[str]) -> None:
    name = words[-1]
    deadline = time.monotonic() + float(words[words.index("-t") + 1])
    number = signal.SIGTERM
    while (now := state(name))["Status"] == "running":
        if number:
            os.killpg(now["Pid"], number)
            number = None
        if time.monotonic() > deadline:
            number = signal.SIGKILL
        time.sleep(PAUSE)


def answer(words: list[str]) -> None:
    if words[0] == "engine":
        engine(words[1])
        return
    record = {"argv": words}
    if "--env-file" in words:
        file = Path(words[words.index("--env-file") + 1])
        record |= {"env_file": file.read_text(), "mode": file.stat().st_mode & 0o777}
        inherited = [words[n + 1] for n, word in enumerate(words) if word == "--env"]
        record["inherited"] = {name: os.environ[name] for name in inherited}
    with (ROOT / "calls.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n")
    if (ROOT / "down").exists():
        fail("Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?")
    match words:
        case ["info", *_]:
            say((ROOT / "info.json").read_text())
        case ["version", *_]:
            say("28.2.2")
        case ["image", "inspect", *_]:
            if words[-1] not in (ROOT / "images").read_text().split():
                fail(f"Error response from daemon: No such image: {words[-1]}")
        case ["pull", *_]:
            if "slow" in words[-1]:
                signal.pause()
            fail(f"Error response from daemon: pull access denied for {words[-1]}")
        case ["run", *rest]:
            run(rest)
        case ["container", "inspect", *_]:
            say(json.dumps(state(words[-1])))
        case ["logs", *_]:
            logs(words)
        case ["stop", *_]:
            stop(words)
        case ["rm", *_]:
            if (path := ROOT / "containers" / words[-1]).exists():
                if pid := state(words[-1])["Pid"]:
                    os.killpg(pid, signal.SIGKILL)
                # The engine's own process notes the end at this very moment.
                while path.exists():
                    shutil.rmtree(path, ignore_errors=True)
        case ["ps", *_]:
            label = words[words.index("--filter") + 1].removeprefix("label=")
            for path in (ROOT / "containers").glob("*/container.json"):
                if state(path.parent.name)["Status"] == "running":
                    say(json.loads(path.read_text())["labels"].get(label, ""))
        case _:
            fail(f"unknown command: {words}")


if __name__ == "__main__":
    answer(sys.argv[1:])
