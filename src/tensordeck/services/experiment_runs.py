"""Experiment runs that a job gets from us, made as the official client makes its own.

A run is a context below its experiment's. If the experiment has a Tensorboard, the run has one of
its runs behind it, and an artifact in the context says which.
"""

import contextlib
from typing import Final

from msgspec.structs import replace

from tensordeck import names
from tensordeck.errors import AlreadyExists, InvalidArgument, NotFound
from tensordeck.names import ResourceName
from tensordeck.services.paired_contexts import RUN_SCHEMA, RUN_SUFFIX, SOURCE_LABEL
from tensordeck.store.contract import Catalog
from tensordeck.store.resources import (
    Artifact,
    Context,
    Experiment,
    Json,
    Resource,
    Run,
    Tensorboard,
)

__all__ = ["add_run", "end_run", "note_job"]

_TENSORBOARD_RUN_SCHEMA: Final = "google.VertexTensorboardRun"
_SCHEMA_VERSION: Final = "0.0.1"
_LIVE: Final = 2
_BACKING: Final = "backing_tensorboard_resource"
_JOBS: Final = "_custom_jobs"
_STATE: Final = "_state"
_RUNNING: Final = "RUNNING"


def add_run(catalog: Catalog, experiment: str, run_id: str) -> str:
    """Adds a run to an experiment.

    Args:
        catalog: Where both rest.
        experiment: The full name of the experiment's context.
        run_id: The run's name.

    Returns:
        The full name of the run's context.

    Raises:
        InvalidArgument: If the two names together are too long for an id.
        NotFound: If there is no such experiment.
    """
    above = catalog.get(Context, experiment)
    context_id = f"{names.ResourceName.parse(experiment).id}-{run_id}"
    try:
        names.validate_id(context_id, "metadata", "experiment_run")
    except InvalidArgument as error:
        raise InvalidArgument(
            f"The experiment {experiment} can't have a run named {run_id}: {error}"
        ) from error
    run = Context(
        name=f"{experiment}-{run_id}",
        display_name=run_id,
        schema_title=RUN_SCHEMA,
        schema_version=_SCHEMA_VERSION,
        metadata={"_params": {}, "_metrics": {}, _STATE: _RUNNING},
    )
    _add(catalog, run)
    artifact = _back(catalog, above, run_id)
    if artifact:
        catalog.add_links("member", run.name, [artifact])
    catalog.add_links("child", experiment, [run.name])
    return run.name


def note_job(catalog: Catalog, run: str, job: str) -> None:
    """Writes a job into its experiment run, where the client's `get_logged_custom_jobs` looks.

    Raises:
        NotFound: If there is no such run.
    """

    def change(context: Context) -> Context:
        noted = context.metadata.get(_JOBS)
        jobs = noted if isinstance(noted, list) else []
        return replace(
            context,
            metadata={**context.metadata, _JOBS: [*jobs, {"custom_job_resource_name": job}]},
        )

    catalog.update(Context, run, change)


def end_run(catalog: Catalog, run: str, *, succeeded: bool) -> None:
    """Ends a run unless somebody has ended it already; one that was deleted is no error."""

    def change(context: Context) -> Context:
        metadata: Json = context.metadata
        if metadata.get(_STATE) == _RUNNING:
            metadata = {**metadata, _STATE: "COMPLETE" if succeeded else "FAILED"}
        return replace(context, metadata=metadata)

    found = catalog.find(Context, run)
    if found is not None and found.metadata.get(_STATE) == _RUNNING:
        with contextlib.suppress(NotFound):
            catalog.update(Context, run, change)


def _back(catalog: Catalog, experiment: Context, run_id: str) -> str:
    """Puts a run of the experiment's Tensorboard behind a run; returns the artifact's name.

    An experiment without one, or one whose Tensorboard is gone, has no such run: empty.
    """
    board = str(experiment.metadata.get(_BACKING, ""))
    if not board or catalog.find(Tensorboard, board) is None:
        return ""
    context = ResourceName.parse(experiment.name)
    of_board = f"{board}/experiments/{context.id}"
    _add(catalog, Experiment(name=of_board, display_name=context.id, labels=SOURCE_LABEL))
    run = f"{of_board}/runs/{run_id}"
    _add(catalog, Run(name=run, display_name=run_id))
    artifact = Artifact(
        name=str(context.parent.child("artifacts", f"{context.id}-{run_id}{RUN_SUFFIX}")),
        schema_title=_TENSORBOARD_RUN_SCHEMA,
        schema_version=_SCHEMA_VERSION,
        uri=f"https://{context.location}-aiplatform.googleapis.com/v1/{run}",
        state=_LIVE,
        metadata={"resourceName": run, "vertex_experiment_tracking": True},
    )
    _add(catalog, artifact)
    return artifact.name


def _add(catalog: Catalog, resource: Resource) -> None:
    with contextlib.suppress(AlreadyExists):
        catalog.create(resource)
