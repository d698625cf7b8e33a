# Get the TensorBoard instance details
gcloud ai tensorboards describe TB_ID --region=us-central1
