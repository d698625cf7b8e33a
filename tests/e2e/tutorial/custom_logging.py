# custom_logging.py
# Log custom metrics to TensorBoard during training

import os
import tensorflow as tf

log_dir = os.environ.get('AIP_TENSORBOARD_LOG_DIR', '/tmp/tb-logs')

# Create a summary writer
writer = tf.summary.create_file_writer(log_dir)

# Log custom scalar metrics
with writer.as_default():
    for step in range(100):
        # Log training metrics
        tf.summary.scalar('custom/learning_rate', 0.001 * (0.95 ** step), step=step)
        tf.summary.scalar('custom/gpu_utilization', 75.5, step=step)

        # Log distribution data
        tf.summary.histogram('custom/weights', tf.random.normal([100]), step=step)

        # Log text data
        if step % 10 == 0:
            tf.summary.text('custom/notes',
                           f'Step {step}: Training progressing normally', step=step)

    writer.flush()
