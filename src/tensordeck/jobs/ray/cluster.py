"""A Ray cluster, as its jobs API and its state API show it."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tensordeck.errors import FailedPrecondition, InvalidArgument, Unavailable
from tensordeck.jobs.ray.resources import Demand

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

_NOT_FOUND: Final = "status code 404"
_TAKEN: Final = "already exists"


@dataclass(frozen=True, slots=True)
class Submission:
    """How a submitted job is.

    Attributes:
        status: `PENDING`, `RUNNING`, `STOPPED`, `SUCCEEDED` or `FAILED`.
        message: What Ray says about that.
        error_type: For a failure: one of Ray's `JobErrorType`.
        exit_code: What the command ended with, if it did by itself.
    """

    status: str
    message: str
    error_type: str
    exit_code: int | None


class RayCluster:
    """One cluster. Thread-safe."""

    def __init__(self, address: str) -> None:
        """Asks nothing yet.

        Args:
            address: Of its dashboard, e.g. `http://127.0.0.1:8265`.
        """
        self._address = address
        self._client: JobSubmissionClient | None = None
        self._lock = threading.Lock()

    def require_library(self) -> None:
        """Tells whether Ray can be talked to.

        Raises:
            FailedPrecondition: If its Python package is not there.
        """
        try:
            import ray.job_submission  # noqa: F401, PLC0415 -- an extra, and slow
        except ImportError as error:
            raise FailedPrecondition(
                "The ray executor needs Ray's Python package: pip install 'tensordeck[ray]', of "
                "about the cluster's version; or use another executor (--executor process)."
            ) from error

    def nodes(self) -> list[dict[str, float]]:
        """The resources of each node that is up.

        Raises:
            Unavailable: If the cluster does not answer.
        """
        self.require_library()
        from ray.util.state import list_nodes  # noqa: PLC0415 -- as above

        try:
            found = list_nodes(
                address=self._address, filters=[("state", "=", "ALIVE")], limit=10_000, detail=True
            )
        except Exception as error:  # Ray documents no types for these
            raise self._away(error) from error
        return [dict(node.resources_total) for node in found]

    def submit(
        self,
        submission_id: str,
        entrypoint: str,
        demand: Demand,
        runtime_env: Mapping[str, Any],
        metadata: Mapping[str, str],
    ) -> None:
        """Submits a job, unless one of that id was.

        Args:
            submission_id: Its id.
            entrypoint: A command for a shell.
            demand: What it asks for.
            runtime_env: The environment for Ray to make.
            metadata: What else to show.

        Raises:
            InvalidArgument: If Ray refuses it.
            Unavailable: If the cluster does not answer.
        """
        try:
            self._connected().submit_job(
                entrypoint=entrypoint,
                submission_id=submission_id,
                runtime_env=dict(runtime_env),
                metadata=dict(metadata),
                entrypoint_num_cpus=demand.cpus,
                entrypoint_num_gpus=demand.gpus,
                entrypoint_memory=demand.memory_bytes,
                entrypoint_resources=dict(demand.others) or None,
            )
        except (RuntimeError, ValueError) as error:
            if _TAKEN in str(error):
                return
            if "status code 5" in str(error) and "Traceback" not in str(error):
                raise self._away(error) from error
            raise InvalidArgument(f"Ray refuses the job: {_brief(error)}.") from error
        except OSError as error:  # as all errors of `requests` are
            raise self._away(error) from error

    def submission(self, submission_id: str) -> Submission | None:
        """How a job is; None if the cluster knows none of that id.

        Raises:
            Unavailable: If the cluster does not answer.
        """
        try:
            details = self._connected().get_job_info(submission_id)
        except RuntimeError as error:
            if _NOT_FOUND in str(error):
                return None
            raise self._away(error) from error
        except (OSError, ValueError) as error:
            raise self._away(error) from error
        return Submission(
            status=str(details.status),
            message=details.message or "",
            error_type=details.error_type or "",
            exit_code=details.driver_exit_code,
        )

    def stop(self, submission_id: str) -> None:
        """Has a job ended; no error if it is not there or has ended.

        Raises:
            Unavailable: If the cluster does not answer.
        """
        try:
            self._connected().stop_job(submission_id)
        except RuntimeError as error:
            if _NOT_FOUND not in str(error):
                raise self._away(error) from error
        except (OSError, ValueError) as error:
            raise self._away(error) from error

    def _connected(self) -> "JobSubmissionClient":
        self.require_library()
        from ray.job_submission import JobSubmissionClient  # noqa: PLC0415 -- as above

        with self._lock:
            if self._client is None:
                self._client = JobSubmissionClient(self._address)
            return self._client

    def _away(self, error: Exception) -> Unavailable:
        return Unavailable(
            f"The Ray cluster at {self._address} does not answer ({_brief(error)}). Start it (`ray "
            f"start --head`), or set --ray-address to its dashboard."
        )


def _brief(error: Exception) -> str:
    """The last line of an error, which may hold a traceback of the cluster's."""
    lines = [line.strip() for line in str(error).replace("\\n", "\n").splitlines() if line.strip()]
    return lines[-1].rstrip(".'\"")[:300] if lines else type(error).__name__


__all__ = ["RayCluster", "Submission"]
