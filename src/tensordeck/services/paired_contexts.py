"""Experiments and runs have two faces: a TensorBoard resource, and a metadata context.

The official client makes both: for an experiment `E` of an instance a context `E` that names the
instance, for its run `R` a context `E-R` and an artifact `E-R-tb-run` that names the run. It
follows these names without asking whether the resource still exists: what was deleted on one side
only comes back empty, or breaks every later listing (googleapis/python-aiplatform issue 2299). So
here one face follows the other (docs/adr/0009).
"""

import contextlib
from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from tensordeck import names
from tensordeck.errors import NotFound
from tensordeck.filters import All, Comparison
from tensordeck.names import ResourceName
from tensordeck.store.contract import Catalog
from tensordeck.store.resources import Artifact, Context, Experiment, Run
from tensordeck.store.walk import walk_pages

__all__ = [
    "EXPERIMENT_SCHEMA",
    "RUN_SCHEMA",
    "RUN_SUFFIX",
    "SOURCE_LABEL",
    "forget_tensorboard",
    "remove_experiment_context",
    "remove_run_contexts",
    "remove_traces",
    "rename_context",
    "rename_tensorboard_face",
    "run_states",
]

EXPERIMENT_SCHEMA: Final = "system.Experiment"
RUN_SCHEMA: Final = "system.ExperimentRun"
RUN_SUFFIX: Final = "-tb-run"
SOURCE_LABEL: Final = {"vertex_tensorboard_experiment_source": "vertex_experiment"}
"""What the client labels the experiment of an instance with that it makes for one of its own."""

_BACKING: Final = "backing_tensorboard_resource"
_PAGE: Final = 500


def remove_run_contexts(catalog: Catalog, runs: Sequence[str], *, keep_logged: bool) -> None:
    """Removes the other face of runs that are being deleted.

    Args:
        catalog: Where it is.
        runs: Full names of the runs.
        keep_logged: Whether only the references to the runs go, and the contexts stay with the
            parameters and metrics that were logged to them.
    """
    by_artifact = {_artifact_name(names.parse(run, names.RUN)): run for run in runs}
    artifacts = [
        name
        for name, artifact in catalog.find_many(Artifact, list(by_artifact)).items()
        if _same_resource(_referred(artifact), by_artifact[name])
    ]
    if not keep_logged:
        contexts = [_context_name(names.parse(by_artifact[name], names.RUN)) for name in artifacts]
        catalog.delete_many(Context, contexts)
    catalog.delete_many(Artifact, artifacts)


def remove_experiment_context(catalog: Catalog, experiment: str) -> None:
    """Removes the other face of an experiment that is being deleted, with that of all its runs."""
    context = _context_of(catalog, names.parse(experiment, names.EXPERIMENT))
    if context is None:
        return
    store = str(ResourceName.parse(context.name).parent)
    of_experiment = All(
        (
            Comparison(("schema_title",), "=", (RUN_SCHEMA,)),
            Comparison(("parent_contexts",), ":", (context.name,)),
        )
    )
    pages = walk_pages(
        lambda token: catalog.list(
            Context, store, filter=of_experiment, page_size=_PAGE, page_token=token
        )
    )
    runs = [run.name for page in pages for run in page]
    catalog.delete_many(Context, [*runs, context.name])


def forget_tensorboard(catalog: Catalog, tensorboard: str) -> None:
    """Takes an instance that is being deleted out of the experiments that it is behind.

    They stay, with all that was logged to them but curves, and may get another one.
    """
    place = names.parse(tensorboard, names.TENSORBOARD).parent
    behind = All(
        (
            Comparison(("schema_title",), "=", (EXPERIMENT_SCHEMA,)),
            Comparison(("metadata", _BACKING), "=", (tensorboard,)),
        )
    )

    def forget(context: Context) -> Context:
        return replace(context, metadata={**context.metadata, _BACKING: None})

    store = str(place.child("metadataStores", "default"))
    with contextlib.suppress(NotFound):  # a place without experiments has no store
        pages = walk_pages(
            lambda token: catalog.list(
                Context, store, filter=behind, page_size=_PAGE, page_token=token
            )
        )
        for name in [context.name for page in pages for context in page]:
            with contextlib.suppress(NotFound):
                catalog.update(Context, name, forget)


def remove_traces(catalog: Catalog, context: Context) -> None:
    """Removes what only refers to a context that was deleted.

    A TensorBoard run with its points stays: the client deletes it when it is told to. An
    experiment that it made in an instance goes when it has no runs left.
    """
    if context.schema_title == RUN_SCHEMA:
        catalog.delete_many(Artifact, [_artifact_beside(context.name)])
    elif context.schema_title == EXPERIMENT_SCHEMA and context.metadata.get(_BACKING):
        face = _face_of_experiment(context)
        experiment = catalog.find(Experiment, face)
        made_by_client = experiment is not None and experiment.labels == SOURCE_LABEL
        if made_by_client and not catalog.count_children(Run, [face])[face]:
            catalog.delete_many(Experiment, [face])


def run_states(catalog: Catalog, runs: Sequence[str]) -> dict[str, str]:
    """The states that the contexts of TensorBoard runs say, by the runs' full names.

    Args:
        catalog: Where they are.
        runs: Full names of the runs; those without a context are left out.
    """
    of_run = {run: names.parse(run, names.RUN) for run in runs}
    artifacts = catalog.find_many(Artifact, [_artifact_name(name) for name in of_run.values()])
    contexts = {
        run: _context_name(name)
        for run, name in of_run.items()
        if (found := artifacts.get(_artifact_name(name))) and _same_resource(_referred(found), run)
    }
    found_contexts = catalog.find_many(Context, list(contexts.values()))
    return {
        run: str(found_contexts[context].metadata.get("_state", ""))
        for run, context in contexts.items()
        if context in found_contexts
    }


def rename_context(catalog: Catalog, resource: Experiment | Run) -> None:
    """Gives the context of an experiment or a run the display name that this now has."""
    pattern = names.RUN if isinstance(resource, Run) else names.EXPERIMENT
    context = _context_of(catalog, names.parse(resource.name, pattern))
    if context is None or context.display_name == resource.display_name:
        return

    def rename(record: Context) -> Context:
        return replace(record, display_name=resource.display_name)

    with contextlib.suppress(NotFound):
        catalog.update(Context, context.name, rename)


def rename_tensorboard_face(catalog: Catalog, context: Context) -> None:
    """Gives the experiment or run behind a context the display name that this now has.

    Raises:
        AlreadyExists: If another run of the experiment has that name.
    """
    with contextlib.suppress(NotFound):
        if context.schema_title == EXPERIMENT_SCHEMA and context.metadata.get(_BACKING):
            catalog.update(
                Experiment,
                _face_of_experiment(context),
                lambda record: replace(record, display_name=context.display_name),
            )
        elif context.schema_title == RUN_SCHEMA:
            artifact = catalog.get(Artifact, _artifact_beside(context.name))
            catalog.update(
                Run,
                _referred(artifact),
                lambda record: replace(record, display_name=context.display_name),
            )


def _context_of(catalog: Catalog, name: ResourceName) -> Context | None:
    """The context of an experiment or run of an instance, if that is what it stands for."""
    context = catalog.find(Context, _context_name(name))
    if context is None:
        return None
    if name.kind == "experiments":
        its_own = context.schema_title == EXPERIMENT_SCHEMA and _same_resource(
            str(context.metadata.get(_BACKING, "")), str(name.parent)
        )
    else:
        artifact = catalog.find(Artifact, _artifact_name(name))
        its_own = artifact is not None and _same_resource(_referred(artifact), str(name))
    return context if its_own else None


def _context_name(name: ResourceName) -> str:
    """Where the context of an experiment or a run is, if it has one."""
    context_id = name.id if name.kind == "experiments" else f"{name.parent.id}-{name.id}"
    return str(_metadata_store(name).child("contexts", context_id))


def _artifact_name(run: ResourceName) -> str:
    return _artifact_beside(_context_name(run))


def _artifact_beside(context: str) -> str:
    """The artifact that says which TensorBoard run is behind a run's context."""
    store, _, context_id = context.partition("/contexts/")
    return f"{store}/artifacts/{context_id}{RUN_SUFFIX}"


def _metadata_store(name: ResourceName) -> ResourceName:
    return name.up_to("locations").child("metadataStores", "default")


def _face_of_experiment(context: Context) -> str:
    return f"{context.metadata[_BACKING]}/experiments/{ResourceName.parse(context.name).id}"


def _referred(artifact: Artifact) -> str:
    return str(artifact.metadata.get("resourceName", ""))


def _same_resource(left: str, right: str) -> bool:
    """Whether two names are one resource's; the project may be named by id or by number."""
    return left.partition("/locations/")[2] == right.partition("/locations/")[2]
