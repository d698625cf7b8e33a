"""The states of training jobs, changed in one place: a job's own, and its pipeline's with it.

A job's row is the truth. Its pipeline follows: state, times, error, and on success the model that
the pipeline was to make. A crash between the two leaves a job that has ended and a pipeline that
has not; `mend` finds such pipelines and lets them follow.
"""

import contextlib
from collections.abc import Callable, Iterator
from time import time_ns
from typing import Any, Final

from msgspec.structs import replace

from tensordeck import protos
from tensordeck.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    TensordeckError,
)
from tensordeck.filters import Any_, Comparison
from tensordeck.names import ResourceName
from tensordeck.services import experiment_runs, model_registry
from tensordeck.store.contract import Catalog
from tensordeck.store.resources import (
    CustomJob,
    JobState,
    Json,
    Model,
    ModelVersion,
    TrainingPipeline,
)
from tensordeck.store.walk import walk_pages

__all__ = ["CANCELLED", "UNENDED", "JobStates"]

CANCELLED: Final = 1
"""`google.rpc.Code.CANCELLED`."""
UNENDED: Final = Any_(
    tuple(Comparison(("state",), "=", (str(int(state)),)) for state in JobState if not state.ended)
)
"""The filter of jobs and pipelines that have not ended; an index serves it."""

_PAGE: Final = 500
_LASTING: Final = (AlreadyExists, FailedPrecondition, InvalidArgument, NotFound)
"""Errors that another try would meet again."""


class JobStates:
    """Changes the states of custom jobs.

    Every method may be called again: a job that has ended stays as it ended, whatever is said of
    it later, and what a crash left half done is completed.

    Args:
        catalog: Where jobs rest.
        owner: Which server speaks, as in the job's `lease_owner`; a job that another one looks
            after by now is not touched. Empty for who holds no lease: the API.
    """

    def __init__(self, catalog: Catalog, owner: str = "") -> None:
        self._catalog = catalog
        self._owner = owner

    def unended(self) -> Iterator[list[CustomJob]]:
        """All jobs that have not ended, oldest first, a page at a time."""
        return walk_pages(
            lambda token: self._catalog.list(
                CustomJob, "", filter=UNENDED, page_size=_PAGE, page_token=token
            )
        )

    def pending(self, name: str) -> CustomJob:
        """Somebody has taken the job up and makes ready what it needs.

        Raises:
            NotFound: If the job was deleted.
            Aborted: If another server looks after it.
        """
        return self._move(name, lambda job: _under_way(job, JobState.PENDING))

    def running(self, name: str) -> CustomJob:
        """The job's program runs. Raises as `pending`."""
        return self._move(
            name,
            lambda job: replace(
                _under_way(job, JobState.RUNNING), start_time=job.start_time or _now()
            ),
        )

    def succeeded(self, name: str) -> CustomJob:
        """The job ended well; the model of its pipeline is registered. Raises as `pending`."""
        return self._move(name, lambda job: _ended(job, JobState.SUCCEEDED, {}))

    def failed(self, name: str, code: int, message: str) -> CustomJob:
        """The job ended with an error.

        Args:
            name: Its full name.
            code: A `google.rpc.Code` other than 0, which clients read as no error.
            message: What went wrong and what to do, for people.

        Raises:
            NotFound: If the job was deleted.
            Aborted: If another server looks after it.
        """
        error = {"code": code, "message": message}
        return self._move(name, lambda job: _ended(job, JobState.FAILED, error))

    def cancelled(self, name: str, message: str = "The job was cancelled.") -> CustomJob:
        """The job ended because somebody wanted it to. Raises as `pending`."""
        error = {"code": CANCELLED, "message": message}
        return self._move(name, lambda job: _ended(job, JobState.CANCELLED, error))

    def request_cancel(self, name: str) -> CustomJob:
        """Asks for a job's end; at once if nobody has taken it up. One that ended stays as it is.

        Raises:
            NotFound: If there is no such job.
        """

        def change(job: CustomJob) -> CustomJob:
            if job.state is JobState.QUEUED and not job.lease_owner:
                error = {"code": CANCELLED, "message": "The job was cancelled before it started."}
                return replace(_ended(job, JobState.CANCELLED, error), cancel_requested=True)
            return replace(job, state=JobState.CANCELLING, cancel_requested=True)

        return self._move(name, change)

    def settle(self, name: str) -> CustomJob:
        """Completes what a crash has left half done for one job.

        Raises:
            NotFound: If there is no such job.
        """
        job = self._catalog.get(CustomJob, name)
        self._bring_along(job)
        return job

    def mend(self) -> None:
        """Lets every pipeline follow whose job ended without it: what a crash may leave behind.

        A pipeline whose job was deleted has failed.
        """
        for pipelines in walk_pages(
            lambda token: self._catalog.list(
                TrainingPipeline, "", filter=UNENDED, page_size=_PAGE, page_token=token
            )
        ):
            jobs = self._catalog.find_many(CustomJob, [found.custom_job for found in pipelines])
            for pipeline in pipelines:
                job = jobs.get(pipeline.custom_job)
                if job is None:
                    message = f"The pipeline's job {pipeline.custom_job} was deleted."
                    lost = {"code": NotFound.grpc_code, "message": message}
                    self._end_pipeline(pipeline, JobState.FAILED, lost, _now())
                elif job.state.ended:
                    self._follow(job)

    def _move(self, name: str, change: Callable[[CustomJob], CustomJob]) -> CustomJob:
        """Writes a job's new state unless it has ended, and brings its pipeline along."""

        def unless_ended(job: CustomJob) -> CustomJob:
            if job.state.ended:
                return job
            if self._owner and job.lease_owner != self._owner:
                raise Aborted(
                    f"{name} is no longer looked after by {self._owner}, but by "
                    f"{job.lease_owner or 'nobody'}."
                )
            return change(job)

        job = self._catalog.get(CustomJob, name)
        if not job.state.ended:  # saves writing what would change nothing
            job = self._catalog.update(CustomJob, name, unless_ended)
        self._bring_along(job)
        return job

    def _bring_along(self, job: CustomJob) -> None:
        """Brings a job's experiment run and its pipeline to where the job is."""
        run = job.job_spec.get("experimentRun", "")
        if run and job.state.ended:
            succeeded = job.state is JobState.SUCCEEDED
            experiment_runs.end_run(self._catalog, run, succeeded=succeeded)
        self._follow(job)

    def _follow(self, job: CustomJob) -> None:
        """Brings a pipeline to where its job is."""
        pipeline = self._catalog.find(TrainingPipeline, job.pipeline) if job.pipeline else None
        if pipeline is None or pipeline.state.ended:
            return
        if not job.state.ended:
            if (pipeline.state, pipeline.start_time) != (job.state, job.start_time):
                self._update_pipeline(pipeline.name, state=job.state, start_time=job.start_time)
            return
        state, error = job.state, job.error
        uploaded = pipeline.model_to_upload
        if state is JobState.SUCCEEDED and uploaded:
            try:
                uploaded = self._register(pipeline, job)
            except _LASTING as problem:
                state, error = JobState.FAILED, _model_problem(job, problem)
        self._end_pipeline(
            replace(pipeline, start_time=job.start_time, model_to_upload=uploaded),
            state,
            error,
            job.end_time,
        )

    def _end_pipeline(
        self, pipeline: TrainingPipeline, state: JobState, error: Json, end_time: int
    ) -> None:
        self._update_pipeline(
            pipeline.name,
            state=state,
            start_time=pipeline.start_time,
            end_time=end_time,
            error=error,
            model_to_upload=pipeline.model_to_upload,
        )

    def _update_pipeline(self, name: str, **values: Any) -> None:
        def change(pipeline: TrainingPipeline) -> TrainingPipeline:
            return pipeline if pipeline.state.ended else replace(pipeline, **values)

        with contextlib.suppress(NotFound):  # deleted meanwhile: nobody waits for it
            self._catalog.update(TrainingPipeline, name, change)

    def _register(self, pipeline: TrainingPipeline, job: CustomJob) -> Json:
        """Registers the model that a job has left; returns it with its name and version.

        Its id is the pipeline's own unless one was given, so that a second try finds the first.
        """
        given = protos.from_json(pipeline.model_to_upload, protos.message("Model")())
        base = job.job_spec.get("baseOutputDirectory", {}).get("outputUriPrefix", "")
        if base:
            given.artifact_uri = f"{base.rstrip('/')}/model"
        version = self._find_or_add(pipeline, given)
        model_name, _, version_id = version.name.partition("/versions/")
        return {
            **pipeline.model_to_upload,
            "name": model_name,
            "versionId": version_id,
            "artifactUri": given.artifact_uri,
        }

    def _find_or_add(self, pipeline: TrainingPipeline, given: Any) -> ModelVersion:
        if pipeline.parent_model:
            return model_registry.add_version(
                self._catalog, pipeline.parent_model, given, pipeline.name
            )
        name = ResourceName.parse(pipeline.name)
        model = str(name.parent.child(Model.kind, pipeline.model_id or name.id))
        first = self._catalog.find(ModelVersion, model_registry.version_name(model, "1"))
        if first is not None and first.training_pipeline == pipeline.name:
            return first
        return model_registry.add_model(self._catalog, model, given, pipeline.name)


def _under_way(job: CustomJob, state: JobState) -> CustomJob:
    """A job that is to be cancelled stays so until it has ended."""
    return job if job.state is JobState.CANCELLING else replace(job, state=state)


def _ended(job: CustomJob, state: JobState, error: Json) -> CustomJob:
    return replace(job, state=state, error=error, end_time=_now(), lease_owner="", lease_until=0)


def _model_problem(job: CustomJob, problem: TensordeckError) -> Json:
    return {
        "code": problem.grpc_code,
        "message": f"The job {job.name} succeeded, but its model could not be registered: "
        f"{problem.message}",
    }


def _now() -> int:
    return time_ns() // 1000
