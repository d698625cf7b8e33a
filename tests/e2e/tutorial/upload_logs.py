# upload_logs.py
# Upload existing TensorBoard logs to Vertex AI

from google.cloud import aiplatform

aiplatform.init(
    project='your-project-id',
    location='us-central1',
)

# Create an experiment within the TensorBoard instance
experiment = aiplatform.TensorboardExperiment.create(
    tensorboard_experiment_id='local-experiment-001',
    tensorboard_name='projects/your-project-id/locations/us-central1/tensorboards/TB_ID',
    display_name='Local Training Experiment',
)

# Upload time series data
aiplatform.upload_tb_log(
    tensorboard_id='TB_ID',
    tensorboard_experiment_name='local-experiment-001',
    logdir='./local-tb-logs/',
)
