"""Where in TensorBoard the logs of a job go."""

import contextlib
from dataclasses import dataclass
from typing import Final

from tensordeck import names
from tensordeck.errors import AlreadyExists
from tensordeck.store.contract import Catalog
from tensordeck.store.resources import Context, CustomJob, Experiment, Tensorboard

__all__ = ["BoardLink", "board_link"]

_BACKING: Final = "backing_tensorboard_resource"
"""Where the official client notes an experiment's instance, in the metadata of its context."""


@dataclass(frozen=True, slots=True)
class BoardLink:
    """A place for a job's time series.

    Attributes:
        tensorboard: The instance's full name.
        experiment: The experiment's id.
        run: The run that all is written to; empty where each log directory is a run.
    """

    tensorboard: str
    experiment: str
    run: str = ""


def board_link(catalog: Catalog, job: CustomJob) -> BoardLink | None:
    """Finds, and where necessary makes, the experiment that a job logs to.

    A job that is linked to an instance has an experiment of its own there, whose id is the job's.
    One that belongs to a run of a Vertex experiment logs to that run, if the experiment has an
    instance behind it.

    Returns:
        The place; None for a job that is linked to nothing.

    Raises:
        NotFound: If the instance does not exist.
        InvalidArgument: If its name is none.
    """
    spec = job.job_spec
    if tensorboard := spec.get("tensorboard", ""):
        parent = names.parse(tensorboard, names.TENSORBOARD, "job_spec.tensorboard")
        job_id = names.ResourceName.parse(job.name).id
        catalog.get(Tensorboard, tensorboard)
        with contextlib.suppress(AlreadyExists):  # an earlier attempt, or a server that was killed
            catalog.create(
                Experiment(
                    name=str(parent.child("experiments", job_id)),
                    display_name=job.display_name or job_id,
                    source=job.name,
                )
            )
        return BoardLink(tensorboard, job_id)
    experiment, run = spec.get("experiment", ""), spec.get("experimentRun", "")
    context = catalog.find(Context, experiment) if experiment and run else None
    backing = str(context.metadata.get(_BACKING, "")) if context else ""
    if not backing or catalog.find(Tensorboard, backing) is None:
        return None
    experiment_id = experiment.rpartition("/")[2]
    run_id = run.rpartition("/")[2].removeprefix(f"{experiment_id}-")
    return BoardLink(backing, experiment_id, run_id)
