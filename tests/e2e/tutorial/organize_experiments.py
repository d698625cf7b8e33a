# organize_experiments.py
# Create experiments and runs with consistent naming

from google.cloud import aiplatform

aiplatform.init(
    project='your-project-id',
    location='us-central1',
)

# Create an experiment
experiment = aiplatform.TensorboardExperiment.create(
    tensorboard_experiment_id='churn-prediction-v2',
    tensorboard_name='projects/your-project-id/locations/us-central1/tensorboards/TB_ID',
    display_name='Churn Prediction Model v2',
    description='Experiments for the churn prediction model, second iteration',
)

# Each training run creates a new run within the experiment
run = aiplatform.TensorboardRun.create(
    tensorboard_run_id='run-lr001-bs64-ep30',
    tensorboard_experiment_name=experiment.resource_name,
    display_name='LR=0.001, BS=64, Epochs=30',
)
