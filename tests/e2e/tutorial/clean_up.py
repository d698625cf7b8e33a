# Delete old experiments
experiment = aiplatform.TensorboardExperiment(
    'projects/your-project-id/locations/us-central1/tensorboards/TB_ID/experiments/old-experiment'
)
experiment.delete()

# Delete the entire TensorBoard instance if no longer needed
tensorboard = aiplatform.Tensorboard(
    'projects/your-project-id/locations/us-central1/tensorboards/TB_ID'
)
tensorboard.delete()
