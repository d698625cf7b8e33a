# create_tensorboard.py
# Create a Vertex AI TensorBoard instance

from google.cloud import aiplatform

aiplatform.init(
    project='your-project-id',
    location='us-central1',
)

# Create the TensorBoard instance
tensorboard = aiplatform.Tensorboard.create(
    display_name='ml-experiments-tensorboard',
    description='TensorBoard for tracking ML training experiments',
)

print(f"TensorBoard created: {tensorboard.resource_name}")
print(f"TensorBoard ID: {tensorboard.name}")
