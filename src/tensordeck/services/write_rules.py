"""What a write request must keep to, whichever way it is decoded."""

from typing import Final

from tensordeck.errors import InvalidArgument
from tensordeck.names import shown
from tensordeck.store.resources import ValueType

POINTS_LIMIT: Final = 5000
"""Points that one WriteTensorboardRunDataRequest may hold (public reference)."""


def check_count(run: str, count: int) -> None:
    """Refuses more points for a run than one request may hold.

    Raises:
        InvalidArgument: With the limit.
    """
    if count > POINTS_LIMIT:
        raise InvalidArgument(
            f"`time_series_data` of {run} holds {count} points; one request may write "
            f"at most {POINTS_LIMIT} to a run. Split it."
        )


def check_kind(run: str, series_id: str, holds: ValueType, given: ValueType) -> None:
    """Refuses points of another kind than their series'.

    Raises:
        InvalidArgument: With both kinds.
    """
    if holds is not given:
        raise InvalidArgument(
            f"{run}/timeSeries/{series_id} holds {holds.name} points; "
            f"the request's are {given.name}."
        )


def check_within(experiment: str, run: str) -> None:
    """Refuses a run of another experiment: the official uploader meets this with a name used twice.

    Raises:
        InvalidArgument: With the way out.
    """
    if not run.startswith(experiment + "/runs/"):
        raise InvalidArgument(
            f"`tensorboard_run` {shown(run, 512)} does not belong to the `tensorboard_experiment` "
            f"{experiment} of the request. Experiment names are unique in a project and region: if "
            "the experiment was uploaded to another Tensorboard before, choose another name for "
            "it, or upload it to that Tensorboard again."
        )
