"""What `docker run` is told of a replica."""

import csv
import io
import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tensordeck.jobs.container.engine import EngineInfo
from tensordeck.jobs.engine.record import AttemptRecord
from tensordeck.jobs.executor import Launch, Replica
from tensordeck.jobs.process.limits import PROCESSES
from tensordeck.redirect.environment import CA_VARIABLES

GPUS: Final = "tensordeck.gpus"
"""The label that says which GPUs a container has."""

_LONGEST_LINE: Final = 32 << 10
"""Docker reads no longer lines than 64 KiB from a file of variables."""

# The managed service installs packages this way: first each as it is, whatever of that name and
# version the image has, then what they require and the image has not.
_PACKAGE_SCRIPT: Final = """\
export PATH="$HOME/.local/bin:$PATH" PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1
python3 -m pip install --user --upgrade --force-reinstall --no-deps {packages} &&
python3 -m pip install --user {packages} &&
exec python3 -m {module} "$@"
"""
_MODULE_SCRIPT: Final = 'exec python3 -m {module} "$@"\n'


@dataclass(frozen=True, slots=True)
class Invocation:
    """A container to run.

    Attributes:
        arguments: What follows `docker run --detach`.
        variables: The lines of the file that `--env-file` names.
        inherited: Variables that such a file can't hold, which `docker run` takes from its own
            environment.
    """

    arguments: tuple[str, ...]
    variables: str
    inherited: dict[str, str]

    def environ(self) -> dict[str, str]:
        """The environment of `docker run` itself."""
        return {**os.environ, **self.inherited}


def container_name(launch: Launch, replica: Replica) -> str:
    """The name by which any server finds a replica's container again."""
    return f"tensordeck-{launch.job_id}-{launch.attempt}-{replica.name}"


def invocation(
    launch: Launch,
    replica: Replica,
    info: EngineInfo,
    env_file: Path,
    gpus: Sequence[str] = (),
) -> Invocation:
    """Says what a replica's container is.

    Args:
        launch: The attempt.
        replica: One of its replicas.
        info: The engine.
        env_file: Where the file of variables will be.
        gpus: Those it gets.
    """
    env = {"USER": "job", "LOGNAME": "job", **replica.env}  # its user's number has no name there
    in_file = {name: value for name, value in env.items() if _fits_a_line(value)}
    inherited = {name: value for name, value in env.items() if name not in in_file}
    return Invocation(
        arguments=(
            "--name", container_name(launch, replica),
            "--label", f"tensordeck.job={launch.job_id}",
            "--label", f"tensordeck.attempt={launch.attempt}",
            "--label", f"tensordeck.replica={replica.name}",
            "--network", "host",
            "--init",  # a first process of the user's would not get SIGTERM, nor end its orphans
            *_user(info),
            "--security-opt", "no-new-privileges",
            "--security-opt", "label=disable",  # SELinux would keep the job from its folder
            *_limits(replica, info),
            *_accelerators(gpus, info),
            *_log_driver(info),
            *_mounts(launch, replica),
            "--env-file", str(env_file),
            *(word for name in inherited for word in ("--env", name)),
            *_command(replica),
        ),
        variables="".join(f"{name}={value}\n" for name, value in in_file.items()),
        inherited=inherited,
    )  # fmt: skip


def _fits_a_line(value: str) -> bool:
    return not ("\n" in value or "\r" in value or len(value.encode()) > _LONGEST_LINE)


def _user(info: EngineInfo) -> Iterator[str]:
    """Lets what the job writes be ours."""
    if info.rootless and not info.podman:
        return  # its root is us
    if info.rootless:
        yield from ("--userns", "keep-id")
    yield from ("--user", f"{os.getuid()}:{os.getgid()}")


def _limits(replica: Replica, info: EngineInfo) -> Iterator[str]:
    memory = replica.machine.memory_bytes
    yield from ("--memory", str(memory), "--memory-swap", str(memory))
    # Docker refuses more cores than there are; memory beyond what there is it takes.
    yield from ("--cpus", f"{min(replica.machine.cpus, info.cpus):g}")
    yield from ("--pids-limit", str(PROCESSES))
    # PyTorch's data loaders pass batches through it, and Docker would give it 64 MB. A Linux host
    # gives it half of its memory.
    yield from ("--shm-size", str(memory // 2))


def _accelerators(gpus: Sequence[str], info: EngineInfo) -> Iterator[str]:
    if not gpus:
        return
    yield from ("--label", f"{GPUS}={','.join(gpus)}")
    if info.podman:
        for gpu in gpus:
            yield from ("--device", f"nvidia.com/gpu={gpu}")
    else:
        yield from ("--gpus", f'"device={",".join(gpus)}"')


def _log_driver(info: EngineInfo) -> Iterator[str]:
    """Keeps what the container prints where `logs` finds it, within bounds."""
    yield from ("--log-driver", "json-file", "--log-opt", "max-size=128m")
    if not info.podman:  # which keeps but one file
        yield from ("--log-opt", "max-file=2")


def _mounts(launch: Launch, replica: Replica) -> Iterator[str]:
    folder = launch.folder
    yield from _mount(folder, folder)
    yield from _mount(folder / "gcs", Path("/gcs"))
    # A program that runs should change neither what is known of it nor what it has said.
    yield from ("--mount", _fields("type=tmpfs", f"target={AttemptRecord(folder).path}"))
    yield from _mount(folder / "logs", folder / "logs", "readonly")
    outside = {
        Path(replica.env[name])
        for name in CA_VARIABLES
        if name in replica.env and not Path(replica.env[name]).is_relative_to(folder)
    }
    for file in sorted(outside):
        yield from _mount(file, file, "readonly")


def _mount(source: Path, target: Path, *options: str) -> tuple[str, str]:
    return ("--mount", _fields("type=bind", f"source={source}", f"target={target}", *options))


def _fields(*fields: str) -> str:
    """The fields of a `--mount`: a line of CSV. Paths have colons, and may have commas."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(fields)
    return line.getvalue()


def _command(replica: Replica) -> Sequence[str]:
    """The image and what it runs."""
    if not replica.module:
        entrypoint, rest = replica.command[:1], replica.command[1:]
        return (
            *(("--entrypoint", entrypoint[0]) if entrypoint else ()),
            replica.image, *rest, *replica.args,
        )  # fmt: skip
    packages = shlex.join(str(path) for path in replica.packages)
    script = (_PACKAGE_SCRIPT if packages else _MODULE_SCRIPT).format(
        packages=packages, module=shlex.quote(replica.module)
    )
    return ("--entrypoint", "sh", replica.image, "-c", script, replica.module, *replica.args)


__all__ = ["GPUS", "Invocation", "container_name", "invocation"]
