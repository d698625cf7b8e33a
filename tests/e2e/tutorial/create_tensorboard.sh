# Create a TensorBoard instance using gcloud
gcloud ai tensorboards create \
  --display-name=ml-experiments-tensorboard \
  --region=us-central1
