"""One of several processes that log to one run at the same time."""

import sys

from google.cloud import aiplatform
from opening import ARGUMENTS, answer, init_place

name, count = ARGUMENTS[0], int(ARGUMENTS[1])
init_place()
run = aiplatform.ExperimentRun("shared", experiment="exp")
sys.stdout.write("READY\n")
sys.stdout.flush()
sys.stdin.readline()  # until all are ready
for number in range(count):
    run.log_params({f"{name}-{number}": number})
    run.log_metrics({f"{name}-last": number})
    run.log_time_series_metrics({f"{name}-loss": 1.0 / (number + 1)}, step=number)
answer(metrics=run.get_metrics()[f"{name}-last"])
