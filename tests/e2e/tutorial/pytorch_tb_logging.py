# pytorch_tb_logging.py
# TensorBoard logging for PyTorch training

import os
from torch.utils.tensorboard import SummaryWriter

# Point to the Vertex AI TensorBoard log directory
log_dir = os.environ.get('AIP_TENSORBOARD_LOG_DIR', '/tmp/tb-logs')
writer = SummaryWriter(log_dir)

# During training loop
for epoch in range(num_epochs):
    # ... training code ...
    train_loss = compute_training_loss()
    val_loss = compute_validation_loss()
    val_accuracy = compute_validation_accuracy()

    # Log scalar metrics
    writer.add_scalar('Loss/train', train_loss, epoch)
    writer.add_scalar('Loss/validation', val_loss, epoch)
    writer.add_scalar('Accuracy/validation', val_accuracy, epoch)

    # Log model parameters as histograms
    for name, param in model.named_parameters():
        writer.add_histogram(f'Parameters/{name}', param.data, epoch)

# Always close the writer when done
writer.close()
