# run_training_with_tb.py
# Run a training job linked to Vertex AI TensorBoard

from google.cloud import aiplatform

aiplatform.init(
    project='your-project-id',
    location='us-central1',
    staging_bucket='gs://your-staging-bucket',
)

# Create the training job
job = aiplatform.CustomTrainingJob(
    display_name='fashion-mnist-experiment',
    script_path='trainer/task.py',
    container_uri='us-docker.pkg.dev/vertex-ai/training/tf-gpu.2-14.py310:latest',
    model_serving_container_image_uri='us-docker.pkg.dev/vertex-ai/prediction/tf2-cpu.2-14:latest',
)

# Run with TensorBoard linked
model = job.run(
    machine_type='n1-standard-4',
    accelerator_type='NVIDIA_TESLA_T4',
    accelerator_count=1,
    args=['--epochs', '30', '--learning-rate', '0.001'],
    model_display_name='fashion-mnist-model',
    # Link to TensorBoard instance
    tensorboard='projects/your-project-id/locations/us-central1/tensorboards/TB_ID',
    # Where to write service account info for TensorBoard
    service_account='your-sa@your-project-id.iam.gserviceaccount.com',
)

print(f"Training complete. Model: {model.resource_name}")
