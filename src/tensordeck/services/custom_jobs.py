"""JobService: custom jobs. Nothing runs here: a job is a row that a controller takes up."""

from collections.abc import Callable
from typing import Any, Final

from msgspec.structs import replace

from tensordeck import names, protos
from tensordeck.errors import FailedPrecondition
from tensordeck.names import ResourceName
from tensordeck.services import experiment_runs, rules
from tensordeck.services.call import Call
from tensordeck.services.job_specs import check_spec
from tensordeck.services.job_states import JobStates
from tensordeck.services.times import set_micros
from tensordeck.services.training_lists import list_newest
from tensordeck.store import Store
from tensordeck.store.contract import Catalog
from tensordeck.store.resources import CustomJob, TrainingPipeline

__all__ = ["JobService", "make_job", "set_progress"]

_KEY: Final = (*names.LOCATION, "keyRings", "cryptoKeys")


class JobService:
    """Custom jobs.

    Args:
        store: Where they rest.
        wake: Called when there is something to do for what runs jobs; must return at once.
        check: Refuses a job that could never run here; called before it is kept.
    """

    def __init__(
        self,
        store: Store,
        wake: Callable[[], None] = lambda: None,
        check: Callable[[CustomJob], None] = lambda _job: None,
    ) -> None:
        self._catalog = store.catalog
        self._states = JobStates(store.catalog)
        self._wake = wake
        self._check = check

    def create_custom_job(self, request: Any, call: Call) -> Any:
        """Creates a job, to be run as soon as may be."""
        place = names.parse(request.parent, names.LOCATION, "parent")
        given = request.custom_job
        check_titles(given, "custom_job")
        job = make_job(
            self._catalog,
            place,
            given,
            given.job_spec,
            "custom_job.job_spec",
            principal=call.caller.principal,
        )
        self._check(job)
        job = self._catalog.create(with_experiment_run(self._catalog, job))
        self._wake()
        return job_message(job)

    def get_custom_job(self, request: Any, _call: Call) -> Any:
        """Returns a job."""
        name = str(names.parse(request.name, names.CUSTOM_JOB))
        return job_message(self._catalog.get(CustomJob, name))

    def list_custom_jobs(self, request: Any, _call: Call) -> Any:
        """Lists the jobs of a project and region, newest first."""
        reply = protos.message("ListCustomJobsResponse")()
        return list_newest(self._catalog, CustomJob, request, job_message, reply)

    def delete_custom_job(self, request: Any, _call: Call) -> Any:
        """Deletes a job that has ended.

        Raises:
            FailedPrecondition: If it has not.
        """
        name = str(names.parse(request.name, names.CUSTOM_JOB))
        self._states.settle(name)
        self._catalog.delete(CustomJob, name, check=require_ended)
        self._wake()
        return protos.message("google.protobuf.Empty")()

    def cancel_custom_job(self, request: Any, _call: Call) -> Any:
        """Asks a job to end; no error if it has ended."""
        self._states.request_cancel(str(names.parse(request.name, names.CUSTOM_JOB)))
        self._wake()
        return protos.message("google.protobuf.Empty")()


def make_job(
    catalog: Catalog,
    place: ResourceName,
    titled: Any,
    spec: Any,
    field: str,
    *,
    principal: str,
    pipeline: str = "",
) -> CustomJob:
    """Makes the record of a new job; nothing is written.

    Args:
        catalog: Where the resources that the spec names must be.
        place: The project and region.
        titled: The message that has the display name, the labels and the key.
        spec: The CustomJobSpec.
        field: Where the spec came from, for errors.
        principal: Who makes it.
        pipeline: The full name of its training pipeline.

    Raises:
        InvalidArgument: If the spec can't work.
        NotFound: If it names a resource that does not exist.
    """
    check_spec(spec, place, catalog, field)
    return CustomJob(
        name=str(place.child(CustomJob.kind, rules.new_numeric_id())),
        display_name=titled.display_name,
        labels=dict(titled.labels),
        job_spec=protos.to_json(spec),
        kms_key_name=titled.encryption_spec.kms_key_name,
        principal=principal,
        pipeline=pipeline,
    )


def with_experiment_run(catalog: Catalog, job: CustomJob) -> CustomJob:
    """The record with its experiment run in the spec: the one given, or one made for the job."""
    experiment = job.job_spec.get("experiment", "")
    if not experiment:
        return job
    run = job.job_spec.get("experimentRun", "")
    if not run:
        run = experiment_runs.add_run(catalog, experiment, ResourceName.parse(job.name).id)
    experiment_runs.note_job(catalog, run, job.name)
    return replace(job, job_spec={**job.job_spec, "experimentRun": run})


def job_message(job: CustomJob) -> Any:
    """A job as the API shows it."""
    message = protos.message("CustomJob")(
        name=job.name, display_name=job.display_name, labels=job.labels
    )
    protos.from_json(job.job_spec, message.job_spec)
    return set_progress(message, job)


def set_progress(message: Any, record: CustomJob | TrainingPipeline) -> Any:
    """Fills in what jobs and pipelines share: state, times, error, key."""
    message.state = int(record.state)
    set_micros(message.create_time, record.create_time)
    set_micros(message.update_time, record.update_time)
    if record.start_time:
        set_micros(message.start_time, record.start_time)
    if record.end_time:
        set_micros(message.end_time, record.end_time)
    if record.error:
        message.error.code = record.error["code"]
        message.error.message = record.error["message"]
    if record.kms_key_name:
        message.encryption_spec.kms_key_name = record.kms_key_name
    return message


def check_titles(message: Any, field: str) -> None:
    """Checks the display name, the labels and the key of a job or a pipeline.

    Raises:
        InvalidArgument: If one breaks a rule.
    """
    rules.check_display_name(message.display_name, f"{field}.display_name")
    rules.check_labels(message.labels, f"{field}.labels", {})
    if key := message.encryption_spec.kms_key_name:
        names.parse(key, _KEY, f"{field}.encryption_spec.kms_key_name")


def require_ended(record: CustomJob | TrainingPipeline) -> None:
    """Lets a deletion pass if its job or pipeline has ended.

    Raises:
        FailedPrecondition: If it has not, with the way out.
    """
    if not record.state.ended:
        raise FailedPrecondition(
            f"{record.name} is {record.state.name} and can't be deleted. "
            "Cancel it, wait until it has ended, then delete it."
        )
