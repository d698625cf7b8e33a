"""PipelineService, the other half: pipeline jobs, as far as the metadata service knows of them.

Nothing here runs pipelines. But a pipeline that runs elsewhere, on Kubeflow for one, may record
itself as Vertex AI's would: a context with the schema `system.PipelineRun`, in it the execution
`system.Run` of the pipeline as a whole, and above it a context `system.Pipeline`. Such a context is
shown as the pipeline job of its id, so that the client can log it to an experiment and find it
again (docs/adr/0013).
"""

from typing import Any, Final, NoReturn

from tensordeck import names, protos
from tensordeck.errors import FailedPrecondition, NotFound, Unimplemented
from tensordeck.filters import All, Comparison, Filter, Function, parse_filter
from tensordeck.names import ResourceName, shown
from tensordeck.services import masks, paging, structs
from tensordeck.services.call import Call
from tensordeck.services.metadata_collection import DEFAULT, MetadataCollection
from tensordeck.services.node_kinds import CONTEXTS
from tensordeck.services.times import set_micros
from tensordeck.store.resources import Context, Execution

__all__ = ["PipelineJobs"]

PIPELINE_JOB: Final = (*names.LOCATION, "pipelineJobs")
_PIPELINE_RUN: Final = Comparison(("schema_title",), "=", ("system.PipelineRun",))
_RUN: Final = Comparison(("schema_title",), "=", ("system.Run",))
_PIPELINE: Final = "system.Pipeline"
_PARAMETER: Final = "input:"
"""What the metadata of a pipeline's execution calls its parameters by; the client reads them."""

_STATES: Final = {1: 2, 2: 3, 3: 4, 4: 5, 5: 4, 6: 7}
"""`Execution.State` to `PipelineState`; a cached run has succeeded."""
_ENDED: Final = frozenset({4, 5, 7})


class PipelineJobs(MetadataCollection):
    """Calls on pipeline jobs."""

    def create_pipeline_job(self, request: Any, _call: Call) -> NoReturn:
        """Refuses: a job that is taken and never runs would be worse.

        Raises:
            Unimplemented: Always; the message says what to do instead.
        """
        names.parse(request.parent, names.LOCATION, "parent")
        raise Unimplemented(
            f"Pipeline job {shown(request.pipeline_job_id or request.pipeline_job.display_name)} "
            "was not created: nothing here runs pipelines. Run its steps as custom jobs; or run it "
            "elsewhere and record it as a context with the schema `system.PipelineRun`, which is "
            "then a pipeline job here."
        )

    def get_pipeline_job(self, request: Any, _call: Call) -> Any:
        """Returns a pipeline job.

        Raises:
            NotFound: If no pipeline run of that id or display name is recorded.
        """
        name = names.parse(request.name, PIPELINE_JOB)
        return self._job(self._recorded(name))

    def list_pipeline_jobs(self, request: Any, _call: Call) -> Any:
        """Lists the pipeline jobs of a project and region, newest first if nothing else is asked.

        Filters and orders are those of contexts.
        """
        place = names.parse(request.parent, names.LOCATION, "parent")
        masks.check_read_mask(request.read_mask, protos.message("PipelineJob").DESCRIPTOR)
        page = self._page(
            Context,
            _store_of(place),
            _runs(parse_filter(request.filter)),
            paging.TRAINING.of(request.page_size),
            request.page_token,
            request.order_by or "create_time desc",
        )
        messages = [self._job(context) for context in page.items]
        masks.apply_read_mask(messages, request.read_mask)
        return protos.message("ListPipelineJobsResponse")(
            pipeline_jobs=messages, next_page_token=page.next_token
        )

    def delete_pipeline_job(self, request: Any, _call: Call) -> NoReturn:
        """Refuses: what it stands for is deleted where it is.

        Raises:
            FailedPrecondition: Always, if there is such a job.
        """
        context = self._recorded(names.parse(request.name, PIPELINE_JOB))
        raise FailedPrecondition(
            f"{request.name} is what context {context.name} records of a pipeline that runs "
            "elsewhere; delete that context instead."
        )

    def cancel_pipeline_job(self, request: Any, _call: Call) -> NoReturn:
        """Refuses: it does not run here.

        Raises:
            FailedPrecondition: Always, if there is such a job.
        """
        context = self._recorded(names.parse(request.name, PIPELINE_JOB))
        raise FailedPrecondition(
            f"{request.name} is what context {context.name} records of a pipeline that runs "
            "elsewhere; cancel it there."
        )

    def _recorded(self, name: ResourceName) -> Context:
        """The context of a pipeline run.

        Found by its display name as well, for the client looks jobs up by that.
        """
        store = _store_of(name.parent)
        context = self._catalog.find(Context, str(store.child(Context.kind, name.id)))
        if context is not None and context.schema_title == _PIPELINE_RUN.value[0]:
            return context
        named = _runs(Comparison(("display_name",), "=", (name.id,)))
        page = self._page(Context, store, named, 1, order_by="create_time desc")
        if not page.items:
            raise NotFound(
                f"PipelineJob {shown(str(name), 1024)} was not found: no context with the schema "
                "system.PipelineRun has that id or display name."
            )
        return page.items[0]

    def _job(self, context: Context) -> Any:
        """What is recorded of a pipeline run, as a job."""
        name = ResourceName.parse(context.name)
        job = protos.message("PipelineJob")(
            name=str(name.up_to("locations").child("pipelineJobs", name.id)),
            display_name=context.display_name,
            labels=context.labels,
        )
        job.job_detail.pipeline_run_context.CopyFrom(CONTEXTS.message(context))
        above = self._catalog.find_many(Context, context.parent_contexts)
        for parent in above.values():
            if parent.schema_title == _PIPELINE:
                job.job_detail.pipeline_context.CopyFrom(CONTEXTS.message(parent))
        set_micros(job.create_time, context.create_time)
        set_micros(job.start_time, context.create_time)
        set_micros(job.update_time, context.update_time)
        run = self._execution(context, name.parent)
        if run is not None:
            job.state = _STATES.get(run.state, 0)
            if job.state in _ENDED:
                set_micros(job.end_time, run.update_time)
            parameters = structs.to_struct(
                {
                    key.removeprefix(_PARAMETER): value
                    for key, value in run.metadata.items()
                    if key.startswith(_PARAMETER)
                }
            )
            for key, value in parameters.fields.items():
                job.runtime_config.parameter_values[key].CopyFrom(value)
        return job

    def _execution(self, context: Context, store: ResourceName) -> Execution | None:
        """The execution that stands for a pipeline as a whole; the client reads the same one."""
        found = self._page(
            Execution, store, All((_RUN, Function("in_context", (context.name,)))), page_size=1
        )
        return found.items[0] if found.items else None


def _store_of(place: ResourceName) -> ResourceName:
    return place.child("metadataStores", DEFAULT)


def _runs(tree: Filter | None) -> Filter:
    """The pipeline runs among the contexts that a filter chooses."""
    return _PIPELINE_RUN if tree is None else All((_PIPELINE_RUN, tree))
