"""The workloads, each in a module, in the order in which a server meets them."""

from benchmarks.peers.workloads import (
    batch_write,
    board,
    kill,
    long_series,
    sampled_read,
    start,
    step_write,
    sustained_write,
)
from benchmarks.peers.workloads.workload import Workload

WORKLOADS: dict[str, Workload] = {
    workload.name: workload
    for workload in (
        start.Start(),
        batch_write.BatchWrite(),
        step_write.StepWrite(),
        board.Board(),
        long_series.LongSeries(),
        sampled_read.SampledRead(),
        sustained_write.SustainedWrite(),
        kill.Kill(),
    )
}
