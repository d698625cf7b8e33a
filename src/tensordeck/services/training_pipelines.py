"""PipelineService: training pipelines, each a custom job and the model made of what it leaves."""

from collections.abc import Callable
from typing import Any, Final

from msgspec.structs import replace

from tensordeck import names, protos
from tensordeck.errors import AlreadyExists, InvalidArgument, NotFound
from tensordeck.names import ResourceName, shown
from tensordeck.services import model_registry, rules, structs
from tensordeck.services.call import Call
from tensordeck.services.custom_jobs import (
    check_titles,
    make_job,
    require_ended,
    set_progress,
    with_experiment_run,
)
from tensordeck.services.job_states import JobStates
from tensordeck.services.pipeline_jobs import PipelineJobs
from tensordeck.services.struct_messages import message_from_struct
from tensordeck.services.training_lists import list_newest
from tensordeck.store import Store
from tensordeck.store.resources import CustomJob, Json, Model, TrainingPipeline

__all__ = ["PipelineService"]

_FIELD: Final = "training_pipeline"
_INPUTS: Final = f"{_FIELD}.training_task_inputs"
_CUSTOM_TASK: Final = "custom_task"
"""What the file of a definition that we can run is called, before its version."""


class PipelineService(PipelineJobs):
    """Training pipelines, and what is recorded of other pipelines' jobs.

    Args:
        store: Where they rest.
        wake: As for `JobService`.
        check: As for `JobService`.
    """

    def __init__(
        self,
        store: Store,
        wake: Callable[[], None] = lambda: None,
        check: Callable[[CustomJob], None] = lambda _job: None,
    ) -> None:
        super().__init__(store)
        self._states = JobStates(store.catalog)
        self._wake = wake
        self._check = check

    def create_training_pipeline(self, request: Any, call: Call) -> Any:
        """Creates a pipeline and its job in one write."""
        place = names.parse(request.parent, names.LOCATION, "parent")
        given = request.training_pipeline
        check_titles(given, _FIELD)
        _check_definition(given)
        inputs = _inputs(given)
        model = self._model_to_upload(given, place)
        spec = message_from_struct(inputs, protos.message("CustomJobSpec")(), _INPUTS)
        name = place.child(TrainingPipeline.kind, rules.new_numeric_id())
        job = make_job(
            self._catalog,
            place,
            given,
            spec,
            _INPUTS,
            principal=call.caller.principal,
            pipeline=str(name),
        )
        self._check(job)
        job = replace(
            with_experiment_run(self._catalog, job),
            display_name=f"{given.display_name}-custom-job",
        )
        pipeline = TrainingPipeline(
            name=str(name),
            display_name=given.display_name,
            labels=dict(given.labels),
            definition=given.training_task_definition,
            inputs=inputs,
            metadata={"backingCustomJob": job.name},
            input_data_config=protos.to_json(given.input_data_config),
            model_to_upload=model,
            model_id=given.model_id,
            parent_model=given.parent_model,
            kms_key_name=given.encryption_spec.kms_key_name,
            custom_job=job.name,
        )
        created = self._catalog.create_many([pipeline, job])
        self._wake()
        return _message(next(made for made in created if isinstance(made, TrainingPipeline)))

    def get_training_pipeline(self, request: Any, _call: Call) -> Any:
        """Returns a pipeline."""
        name = str(names.parse(request.name, names.TRAINING_PIPELINE))
        return _message(self._catalog.get(TrainingPipeline, name))

    def list_training_pipelines(self, request: Any, _call: Call) -> Any:
        """Lists the pipelines of a project and region, newest first."""
        reply = protos.message("ListTrainingPipelinesResponse")()
        return list_newest(self._catalog, TrainingPipeline, request, _message, reply)

    def delete_training_pipeline(self, request: Any, _call: Call) -> Any:
        """Deletes a pipeline that has ended; its job and its model stay.

        Raises:
            FailedPrecondition: If it has not ended.
        """
        name = str(names.parse(request.name, names.TRAINING_PIPELINE))
        self._catalog.delete(TrainingPipeline, name, check=require_ended)
        return protos.message("google.protobuf.Empty")()

    def cancel_training_pipeline(self, request: Any, _call: Call) -> Any:
        """Asks a pipeline to end, by its job; no error if it has ended."""
        name = str(names.parse(request.name, names.TRAINING_PIPELINE))
        pipeline = self._catalog.get(TrainingPipeline, name)
        if not pipeline.state.ended:
            self._states.request_cancel(pipeline.custom_job)
            self._wake()
        return protos.message("google.protobuf.Empty")()

    def _model_to_upload(self, given: Any, place: ResourceName) -> Json:
        """What is known of the model to be; found wrong now rather than after hours of training.

        Raises:
            InvalidArgument: If a field breaks a rule.
            NotFound: If the parent model does not exist.
            AlreadyExists: If the model's id is taken.
        """
        if given.model_id:
            model_registry.check_model_id(given.model_id)
        if given.parent_model:
            parent, _ = model_registry.split_version(given.parent_model, f"{_FIELD}.parent_model")
            self._catalog.get(Model, str(parent))
            given.parent_model = str(parent)
        if not given.HasField("model_to_upload"):
            return {}
        model = given.model_to_upload
        rules.check_display_name(model.display_name, f"{_FIELD}.model_to_upload.display_name")
        rules.check_labels(model.labels, f"{_FIELD}.model_to_upload.labels", {})
        for alias in model.version_aliases:
            model_registry.check_alias(alias)
        if given.model_id and not given.parent_model:
            name = str(place.child(Model.kind, given.model_id))
            if self._catalog.find(Model, name) is not None:
                raise AlreadyExists(
                    f"Model {name} already exists. Give its name as `{_FIELD}.parent_model` to "
                    "train a further version of it, or choose another `model_id`."
                )
        return protos.to_json(model)


def _check_definition(given: Any) -> None:
    definition = given.training_task_definition
    if not definition.rpartition("/")[2].startswith(_CUSTOM_TASK):
        raise InvalidArgument(
            f"`{_FIELD}.training_task_definition` must be that of a custom task "
            "(gs://google-cloud-aiplatform/schema/trainingjob/definition/custom_task_1.0.0.yaml); "
            f"it is {shown(definition)}. There are no other training tasks here."
        )
    if dataset := given.input_data_config.dataset_id:
        raise NotFound(
            f"`{_FIELD}.input_data_config.dataset_id`: there is no dataset {shown(dataset)}, for "
            "there are no managed datasets here. Let the script read from Cloud Storage."
        )


def _inputs(given: Any) -> Json:
    kind = given.training_task_inputs.WhichOneof("kind")
    if kind != "struct_value":
        raise InvalidArgument(f"`{_INPUTS}` is required; it holds the worker pools, as an object.")
    return structs.to_json(given.training_task_inputs.struct_value)


def _message(record: TrainingPipeline) -> Any:
    """A pipeline as the API shows it."""
    message = protos.message("TrainingPipeline")(
        name=record.name,
        display_name=record.display_name,
        labels=record.labels,
        training_task_definition=record.definition,
        model_id=record.model_id,
        parent_model=record.parent_model,
    )
    message.training_task_inputs.struct_value.CopyFrom(structs.to_struct(record.inputs))
    message.training_task_metadata.struct_value.CopyFrom(structs.to_struct(record.metadata))
    if record.model_to_upload:
        protos.from_json(record.model_to_upload, message.model_to_upload)
    if record.input_data_config:
        protos.from_json(record.input_data_config, message.input_data_config)
    return set_progress(message, record)
