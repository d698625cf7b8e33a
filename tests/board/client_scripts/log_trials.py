"""Tracks a small search for hyperparameters with the official client; no hparams summaries."""

import contextlib
import math
import sys

from google.cloud import aiplatform

project, transport = sys.argv[1:]
where = {"project": project, "location": "us-central1", "api_transport": transport}
aiplatform.init(**where)
board = aiplatform.Tensorboard.create(display_name="search")
aiplatform.init(experiment="search", experiment_tensorboard=board, **where)

number = 0
for optimizer in ("adam", "sgd"):
    for rate in (0.001, 0.01, 0.1):
        number += 1
        with aiplatform.start_run(f"trial-{number}"):
            aiplatform.log_params({"learning_rate": rate, "optimizer": optimizer, "layers": number})
            speed = (40 if optimizer == "adam" else 15) * rate
            losses = [math.exp(-speed * step) + 0.05 * number for step in range(1, 5)]
            for step, loss in enumerate(losses, 1):
                aiplatform.log_time_series_metrics({"loss": loss}, step=step)
            aiplatform.log_metrics({"accuracy": 1 - losses[-1] / 2})

# Fails, so that there are no metrics. Its rate came to NaN, which the client can't send over REST.
with contextlib.suppress(ZeroDivisionError), aiplatform.start_run("trial-7"):
    aiplatform.log_params({"optimizer": "lion"})
    if transport == "grpc":
        aiplatform.log_params({"learning_rate": math.nan})
    number /= 0

sys.stdout.write(f"{board.resource_name}\n")
