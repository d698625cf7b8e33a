"""What the official client logged for runs, and how runs are chosen and ordered by it.

Its `log_params` and `log_metrics` write into the metadata of a run's context. The run's time series
are a run of a TensorBoard experiment, and an artifact in the context names that run.
"""

from msgspec import Struct, field

from tensordeck.store.resources import Json

__all__ = ["LoggedRun", "ParameterFilter", "ParameterOrder", "Scalar"]

Scalar = float | str | bool
"""A parameter's value. Anything else, NaN and infinities included, counts as none."""


class LoggedRun(Struct, frozen=True):
    """A run's context, as far as a board shows it.

    Attributes:
        params: `log_params`, by name.
        metrics: `log_metrics`, by name.
        state: `RUNNING`, `COMPLETE` or `FAILED`; empty if nobody said.
        create_time: Microseconds since the epoch at which the run was started.
        update_time: The same, of what was logged last.
    """

    params: Json = field(default_factory=dict)
    metrics: Json = field(default_factory=dict)
    state: str = ""
    create_time: int = 0
    update_time: int = 0


class ParameterFilter(Struct, frozen=True):
    """A condition on one parameter.

    Attributes:
        name: The parameter's name.
        values: The values that pass; None for any.
        interval: The smallest and the largest number that pass; None for any.
        missing: Whether a run without a value passes.
    """

    name: str
    values: tuple[Scalar, ...] | None = None
    interval: tuple[float, float] | None = None
    missing: bool = True


class ParameterOrder(Struct, frozen=True):
    """An order by one parameter: numbers by size, then texts.

    Attributes:
        name: The parameter's name.
        descending: Whether the largest comes first.
        missing_first: Whether runs without a value come first, not last.
    """

    name: str
    descending: bool = False
    missing_first: bool = False
