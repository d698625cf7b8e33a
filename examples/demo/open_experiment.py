"""Opens a Tensorboard instance and a new experiment in it, with Google's own client.

There is nothing of Tensordeck in this script: `tensordeck exec` lets it run against our server.
"""

import sys

from google.cloud import aiplatform

PROJECT, LOCATION, INSTANCE = "demo", "us-central1", "handwritten-digits"


def main() -> None:
    """Prints the instance's full name."""
    experiment_id = sys.argv[1]
    aiplatform.init(project=PROJECT, location=LOCATION)
    existing = aiplatform.Tensorboard.list(filter=f'display_name="{INSTANCE}"')
    instance = (
        existing[0]
        if existing
        else aiplatform.Tensorboard.create(
            display_name=INSTANCE, description="Small networks that read handwritten digits"
        )
    )
    aiplatform.TensorboardExperiment.create(
        tensorboard_experiment_id=experiment_id,
        tensorboard_name=instance.resource_name,
        display_name="Digits: learning rate and layer size",
        description="scikit-learn's digits, one hidden layer, a run for each pair of settings",
        labels={"dataset": "digits", "framework": "scikit-learn"},
    )
    print(instance.resource_name)


if __name__ == "__main__":
    main()
