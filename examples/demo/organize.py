"""Organizes the uploaded runs into a Vertex AI Experiment, with Google's own client.

Each run gets its parameters and its final metrics; then everything is read back as one table.
Exits with status 1 if a run's data can't be read.
"""

import logging
import sys

from google.cloud import aiplatform

EPOCHS, TAGS = 25, 4


def main() -> None:
    """Reads each run's curves, notes its settings and outcome, and prints the table."""
    instance, experiment_id = sys.argv[1:]
    logging.disable(logging.INFO)  # the client tells of each association that it makes
    _, project, _, location, *_ = instance.split("/")
    aiplatform.init(
        project=project,
        location=location,
        experiment=experiment_id,
        experiment_tensorboard=instance,
    )
    runs = aiplatform.TensorboardRun.list(f"{instance}/experiments/{experiment_id}")
    for run in runs:
        curves = {
            tag: [point.scalar.value for point in series.values]
            for tag, series in run.read_time_series_data().items()
            if series.values and "scalar" in series.values[0]
        }
        complete = {tag: values for tag, values in curves.items() if len(values) == EPOCHS}
        if len(complete) < TAGS:
            sys.exit(f"Run {run.display_name} is incomplete: {sorted(complete)} of its curves.")
        _, learning_rate, _, units = run.display_name.rsplit("-", 3)
        with aiplatform.start_run(run.name):
            aiplatform.log_params({"learning_rate": float(learning_rate), "units": int(units)})
            aiplatform.log_metrics(
                {
                    "accuracy": complete["accuracy/validation"][-1],
                    "loss": complete["loss/validation"][-1],
                }
            )
    table = aiplatform.get_experiment_df(experiment_id, include_time_series=False)
    ranked = table.sort_values("metric.accuracy", ascending=False)
    for place, (_, row) in enumerate(ranked.iterrows(), 1):
        print(
            f"    {place}. learning rate {row['param.learning_rate']:<6g} "
            f"{row['param.units']:3.0f} units   accuracy {row['metric.accuracy']:6.1%}"
            f"   loss {row['metric.loss']:.3f}"
        )
    if len(ranked) != len(runs) or not runs:
        sys.exit(f"{len(runs)} runs were uploaded, but the experiment lists {len(ranked)}.")


if __name__ == "__main__":
    main()
