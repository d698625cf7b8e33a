# open_tensorboard.py
# Get the URL for the Vertex AI TensorBoard web interface

from google.cloud import aiplatform

aiplatform.init(
    project='your-project-id',
    location='us-central1',
)

tensorboard = aiplatform.Tensorboard(
    'projects/your-project-id/locations/us-central1/tensorboards/TB_ID'
)

print(f"TensorBoard URL: https://us-central1.tensorboard.googleusercontent.com/experiment/{tensorboard.resource_name}")
