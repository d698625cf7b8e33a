"""One replica as a job that was submitted to Ray."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tensordeck.jobs import job_log
from tensordeck.jobs.engine.reconciler import ended
from tensordeck.jobs.engine.replica import EngineReplica, Sight, exit_code_of
from tensordeck.jobs.executor import Launch, Phase, Replica
from tensordeck.jobs.job_log import LogWriter, Severity
from tensordeck.jobs.printed_lines import PrintedLines
from tensordeck.jobs.process.images import ImageEnvironment
from tensordeck.jobs.ray.cluster import RayCluster, Submission
from tensordeck.jobs.ray.resources import demand, fitted
from tensordeck.jobs.ray.task import End, Task
from tensordeck.redirect.environment import CA_VARIABLES
from tensordeck.redirect.proxy_password import proxy_password

_NO_FOLDER: Final = 78
"""What the entrypoint ends with where it can't even start the launcher (EX_CONFIG)."""
_PAST_GRACE_SECONDS: Final = 15.0
"""When Ray kills what the launcher should have."""
_SETUP_SECONDS: Final = 3600
"""How long Ray may take to install an image's packages."""
_OUTPUT_OF_PIP: Final = "Last 50 lines of stdout:"
"""What comes before it in Ray's message is a traceback of Ray's."""
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_PREFIX: Final = "tensordeck"


class RayReplica(EngineReplica):
    """A replica in the hands of a Ray cluster."""

    def __init__(
        self,
        cluster: RayCluster,
        image: ImageEnvironment,
        launcher: Path,
        launch: Launch,
        replica: Replica,
        *,
        autoscaling: bool,
        grace_seconds: float,
    ) -> None:
        """Does nothing yet.

        Args:
            cluster: The cluster.
            image: What stands for the replica's image.
            launcher: What `ship` makes.
            launch: The attempt.
            replica: One of its replicas.
            autoscaling: Whether the cluster gets the nodes that are asked for.
            grace_seconds: Between SIGTERM and SIGKILL.
        """
        self._cluster = cluster
        self._image = image
        self._launcher = launcher
        self._launch = launch
        self._replica = replica
        self._autoscaling = autoscaling
        self._grace_seconds = grace_seconds
        self._id = submission_id(launch.job_id, launch.attempt, replica.name)
        self._stopped = False
        self._own = Path(launch.folder) / "replicas" / replica.name

    def submit(self) -> str:
        """See `EngineReplica`."""
        if self._earlier_attempt_runs():
            return "It waits for the end of the job's attempt before, which the server has lost."
        asked, note = demand(self._replica.machine), ""
        if not self._autoscaling:
            asked, note = fitted(self._replica.machine, self._cluster.nodes())
        self._cluster.submit(
            self._id,
            entrypoint(self._launcher, self._task().write()),
            asked,
            self._runtime_env(),
            {
                "job_name": f"{_PREFIX} job {self._launch.job_id}, {self._replica.name}",
                "tensordeck_job": self._launch.job_id,
            },
        )
        with LogWriter(self._launch.folder / "logs", job_log.SERVICE) as log:
            for text in filter(None, (self._stands_for(), note)):
                log.append(f"{self._replica.name}: {text}")
        return ""

    def look(self) -> Sight | None:
        """See `EngineReplica`."""
        submission = self._cluster.submission(self._id)
        if submission is None:
            return None
        if submission.status == "PENDING":
            return Sight(phase=Phase.PREPARING, reason=submission.message)
        if submission.status == "RUNNING":
            return Sight(phase=Phase.RUNNING)
        return self._ended(submission)

    def stop(self) -> bool:
        """See `EngineReplica`."""
        submission = self._cluster.submission(self._id)
        if not self._stopped:
            self._cluster.stop(self._id)
            self._stopped = True
        # Ray stops a job that waits for room only when it has found some. The launcher sees by
        # itself then that nobody wants it any more.
        return submission is not None and submission.status != "PENDING"

    def remove(self) -> None:
        """See `EngineReplica`. What has ended stays in Ray's own list of jobs."""
        if not self._stopped:
            self._cluster.stop(self._id)

    def _ended(self, submission: Submission) -> Sight:
        end = End.read(self._own)
        if submission.status == "STOPPED":
            return Sight(
                phase=Phase.CANCELLED,
                exit_code=end.exit_code if end else None,
                reason="Somebody has stopped it on the cluster.",
            )
        if end is not None:
            if end.exit_code is None:
                return Sight(phase=Phase.FAILED, reason=end.reason)
            return ended(end.exit_code)
        message = submission.message.replace("\\n", "\n").strip()
        last = message.rpartition("\n")[2].strip() or "Ray does not say why."
        if submission.exit_code == _NO_FOLDER:
            return Sight(phase=Phase.FAILED, exit_code=_NO_FOLDER, reason=last)
        if submission.error_type == "RUNTIME_ENV_SETUP_FAILURE":
            self._print(message.rpartition(_OUTPUT_OF_PIP)[2])
            return Sight(
                phase=Phase.FAILED,
                reason=f"Ray could not install what stands for {self._replica.image}: {last}",
            )
        if submission.exit_code is not None:
            return ended(exit_code_of(submission.exit_code))
        return Sight(phase=Phase.LOST, reason=f"The Ray cluster has lost it: {last}")

    def _print(self, text: str) -> None:
        """Writes into the replica's log what it could not write itself."""
        with LogWriter(self._launch.folder / "logs", self._replica.name) as log:
            lines = PrintedLines(log, Severity.ERROR)
            lines.take(text.strip().encode())
            lines.end()

    def _stands_for(self) -> str:
        packages = ", ".join(self._image.requirements) or "nothing else"
        return f"{self._replica.image} stands for the cluster's own Python with {packages}."

    def _earlier_attempt_runs(self) -> bool:
        """Ends what a server that is gone may have left on the cluster; whether some is left."""
        left = False
        for attempt in range(1, self._launch.attempt):
            earlier = submission_id(self._launch.job_id, attempt, self._replica.name)
            submission = self._cluster.submission(earlier)
            if submission is not None and submission.status in ("PENDING", "RUNNING"):
                self._cluster.stop(earlier)
                left = True
        return left

    def _runtime_env(self) -> dict[str, Any]:
        seconds = round(self._grace_seconds + _PAST_GRACE_SECONDS)
        environment: dict[str, Any] = {
            "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(seconds)},
            "config": {"setup_timeout_seconds": _SETUP_SECONDS},
        }
        if self._image.requirements:
            environment["pip"] = {"packages": list(self._image.requirements), "pip_check": False}
        return environment

    def _task(self) -> Task:
        env = {**self._image.env, **self._replica.env}
        if not self._replica.machine.accelerators:
            env.setdefault("CUDA_VISIBLE_DEVICES", "")  # it asked for none, so it sees none
        files = {env[name] for name in CA_VARIABLES if name in env}
        return Task(
            name=self._replica.name,
            folder=str(self._launch.folder),
            module=self._replica.module,
            command=self._replica.command or self._image.entrypoint,
            args=self._replica.args,
            packages=tuple(map(str, self._replica.packages)),
            env=_with_credential(env),
            files=tuple(sorted(files)),
            grace_seconds=self._grace_seconds,
            addresses=_addresses(self._launch),
        )


def submission_id(job_id: str, attempt: int, replica: str) -> str:
    """The id by which any server finds a replica again."""
    return f"{_PREFIX}-{job_id}-{attempt}-{replica}"


def entrypoint(launcher: Path, task: Path) -> str:
    """The command that Ray's shell runs on a node.

    Args:
        launcher: What `ship` has made.
        task: What the launcher is told.
    """
    code, run = shlex.quote(str(launcher)), shlex.quote(str(task))
    return (
        f"test -r {code} && test -r {run} || {{ "
        f'echo "The Ray node $(hostname) can not read" {shlex.quote(str(launcher.parent))}": the '
        f"server's data directory must be on a file system that all nodes have at the same path, "
        f"and Ray must run as the server's user.\"; exit {_NO_FOLDER}; }}; "
        f"python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {{ "
        f'echo "The Ray node $(hostname) has no Python 3.11 or newer."; exit {_NO_FOLDER}; }}; '
        f"exec python {code} {run}"
    )


def _addresses(launch: Launch) -> dict[str, str]:
    """The addresses that variables give the replicas, by name; empty if there is but one."""
    if len(launch.replicas) == 1:
        return {}
    spec = json.loads(launch.replicas[0].env["CLUSTER_SPEC"])
    cluster: Mapping[str, list[str]] = spec["cluster"]
    return {
        f"{pool}-{index}": address
        for pool, addresses in cluster.items()
        for index, address in enumerate(addresses)
    }


def _with_credential(env: dict[str, str]) -> dict[str, str]:
    """Variables that lead through the gateway from other hosts, where it asks for a credential."""
    proxy = urlsplit(env.get("https_proxy", ""))
    key = Path(env.get("GOOGLE_APPLICATION_CREDENTIALS", ""))
    if not proxy.hostname or proxy.hostname in _LOOPBACK or proxy.password or not key.is_file():
        return env
    there = proxy._replace(netloc=f"tensordeck:{proxy_password(key)}@{proxy.netloc}").geturl()
    return {**env, "https_proxy": there, "HTTPS_PROXY": there}


__all__ = ["RayReplica", "entrypoint", "submission_id"]
