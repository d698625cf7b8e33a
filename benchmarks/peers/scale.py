"""How much of everything."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """Sizes of the workloads.

    Attributes:
        rounds: How often every peer goes through the repeated workloads.
        clients: Processes that write at once, one run each.
        series: Scalars of a run.
        steps: Steps of a run, written as fast as can be.
        sustained_steps: Steps of a run in the load that lasts.
        single_steps: Steps of a run, written with a call each.
        long_steps: Steps of the one long series.
        board_runs: Runs on the board, each with two scalars of `steps` steps.
        reads: How often a read is repeated.
        kills: How often each server is killed.
    """

    rounds: int = 3
    clients: int = 16
    series: int = 20
    steps: int = 500
    sustained_steps: int = 5_000
    single_steps: int = 200
    long_steps: int = 100_000
    board_runs: int = 100
    reads: int = 7
    kills: int = 3


QUICK = Scale(
    rounds=1,
    clients=4,
    steps=50,
    sustained_steps=500,
    single_steps=10,
    long_steps=5_000,
    board_runs=10,
    reads=3,
    kills=1,
)
"""Shows that everything works; its figures mean nothing."""
