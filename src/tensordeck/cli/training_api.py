"""Custom jobs over the REST API: listed, found, cancelled, and where their dashboards are."""

import re
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

from tensordeck.cli.vertex_api import ApiError, VertexApi
from tensordeck.errors import InvalidArgument, NotFound
from tensordeck.names import ResourceName
from tensordeck.redirect.endpoint import Endpoint

__all__ = ["Job", "TrainingApi", "has_ended", "job_id", "replicas_of", "state_of"]

Job: TypeAlias = dict[str, Any]
"""A CustomJob as the REST API shows it."""

_KINDS: Final = ("customJobs", "trainingPipelines")
_CONSOLE: Final = re.compile(r"https?://[^/]+/.*/training/(\d+)(?:[/?].*)?")
"""The addresses that the official client prints of jobs and pipelines."""
_ENDED: Final = frozenset(
    {"SUCCEEDED", "FAILED", "CANCELLED", "PAUSED", "EXPIRED", "PARTIALLY_SUCCEEDED"}
)


class TrainingApi:
    """Calls about custom jobs to one server.

    Args:
        endpoint: The server.

    Raises:
        InvalidArgument: If the credentials file is of no use.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._url = endpoint.url
        self._api = VertexApi(endpoint, "v1")

    def jobs(self, project: str, region: str, condition: str, limit: int | None) -> Iterator[Job]:
        """Yields jobs, newest first.

        Args:
            project: Whose; `-` for everybody's.
            region: Where; `-` for everywhere.
            condition: A filter (AIP-160), e.g. `state="JOB_STATE_FAILED"`; empty for none.
            limit: How many at most.
        """
        query: dict[str, Any] = {"filter": condition} if condition else {}
        if limit is not None:
            query["pageSize"] = limit
        place = f"projects/{project}/locations/{region}"
        return self._api.items(f"{place}/customJobs", "customJobs", query, limit)

    def find(self, given: str) -> Job:
        """Finds a job by what people have at hand.

        Args:
            given: Its number or full name, that of its training pipeline, or the address of
                either that the official client printed.

        Raises:
            InvalidArgument: If it is none of these.
            NotFound: If there is no such job.
        """
        printed = _CONSOLE.fullmatch(given.strip())
        text = printed[1] if printed else given.strip().strip("/")
        if text.isascii() and text.isdecimal():
            for kind in _KINDS:
                found = self._api.items(
                    f"projects/-/locations/-/{kind}", kind, {"filter": f'name="*/{text}"'}, 1
                )
                for item in found:
                    return self._followed(kind, item)
            raise self._missing(f"job {text}")
        name = ResourceName.parse(text, "ID") if "/" in text else None
        if name is None or name.kind not in _KINDS:
            raise InvalidArgument(
                f"{given!r} names no job: give its number, its full name "
                "(projects/PROJECT/locations/REGION/customJobs/NUMBER), or those of its training "
                "pipeline. `tensordeck jobs list` shows the jobs."
            )
        return self._followed(name.kind, self._get(text))

    def pipeline_of(self, job: Job) -> dict[str, Any]:
        """The training pipeline that a job belongs to; empty for none."""
        place = job["name"].rpartition("/customJobs/")[0]
        query = {"filter": f'custom_job="{job["name"]}"'}
        found = self._api.items(f"{place}/trainingPipelines", "trainingPipelines", query, 1)
        return next(found, {})

    def refreshed(self, job: Job) -> Job:
        """Returns a job as it is now.

        Raises:
            NotFound: If it was deleted.
        """
        return self._get(job["name"])

    def cancel(self, job: Job) -> None:
        """Asks a job to end; nothing happens to one that has ended."""
        self._api.call("POST", f"{job['name']}:cancel", body={})

    def experiment_of(self, job: Job) -> str:
        """The full name of the TensorBoard experiment that a job logs to; empty for none."""
        spec = job["jobSpec"]
        if tensorboard := spec.get("tensorboard", ""):
            return f"{tensorboard}/experiments/{job_id(job)}"
        if context := spec.get("experiment", ""):
            metadata = self._get(context).get("metadata", {})
            if backing := metadata.get("backing_tensorboard_resource", ""):
                return f"{backing}/experiments/{context.rpartition('/')[2]}"
        return ""

    def _followed(self, kind: str, found: dict[str, Any]) -> Job:
        """The job itself, or that of a pipeline."""
        if kind == "customJobs":
            return found
        return self._get(found["trainingTaskMetadata"]["backingCustomJob"])

    def _get(self, name: str) -> dict[str, Any]:
        try:
            return self._api.call("GET", name)
        except ApiError as error:
            if error.code == 404:
                raise self._missing(name) from error
            raise

    def _missing(self, what: str) -> NotFound:
        return NotFound(
            f"There is no {what} on {self._url}. `tensordeck jobs list` shows the jobs there are."
        )


def job_id(job: Job) -> str:
    """A job's number."""
    return str(job["name"]).rpartition("/")[2]


def state_of(job: Job) -> str:
    """Its state without the API's prefix, e.g. `RUNNING`."""
    return str(job["state"]).removeprefix("JOB_STATE_")


def has_ended(job: Job) -> bool:
    """Whether nothing more will come of it."""
    return state_of(job) in _ENDED


def replicas_of(job: Job) -> list[str]:
    """The names of its replicas, e.g. `workerpool0-0`."""
    return [
        f"workerpool{number}-{index}"
        for number, pool in enumerate(job["jobSpec"]["workerPoolSpecs"])
        for index in range(int(pool.get("replicaCount", 1)) if pool else 0)
    ]
