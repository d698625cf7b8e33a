"""Reads what several processes have logged to one run."""

from google.cloud import aiplatform
from opening import answer, init_place

init_place()
run = aiplatform.ExperimentRun("shared", experiment="exp")
answer(
    params=run.get_params(),
    metrics=run.get_metrics(),
    curves={
        name: column.dropna().tolist()
        for name, column in run.get_time_series_data_frame().items()
        if name.endswith("-loss")
    },
)
