# trainer/task.py
# Training script with TensorBoard logging for Vertex AI

import os
import argparse
import tensorflow as tf

def get_args():
    parser = argparse.ArgumentParser()
    parser.add_argument('--epochs', type=int, default=20)
    parser.add_argument('--batch-size', type=int, default=64)
    parser.add_argument('--learning-rate', type=float, default=0.001)
    return parser.parse_args()

def main():
    args = get_args()

    # Get the TensorBoard log directory from the environment
    # Vertex AI sets this automatically when a TensorBoard instance is linked
    log_dir = os.environ.get('AIP_TENSORBOARD_LOG_DIR', '/tmp/tb-logs')
    print(f"TensorBoard log directory: {log_dir}")

    # Load dataset
    (x_train, y_train), (x_test, y_test) = tf.keras.datasets.fashion_mnist.load_data()
    x_train = x_train.astype('float32') / 255.0
    x_test = x_test.astype('float32') / 255.0

    # Build model
    model = tf.keras.Sequential([
        tf.keras.layers.Flatten(input_shape=(28, 28)),
        tf.keras.layers.Dense(256, activation='relu'),
        tf.keras.layers.Dropout(0.3),
        tf.keras.layers.Dense(128, activation='relu'),
        tf.keras.layers.Dense(10, activation='softmax')
    ])

    model.compile(
        optimizer=tf.keras.optimizers.Adam(learning_rate=args.learning_rate),
        loss='sparse_categorical_crossentropy',
        metrics=['accuracy']
    )

    # Set up TensorBoard callback to write logs
    tensorboard_callback = tf.keras.callbacks.TensorBoard(
        log_dir=log_dir,
        histogram_freq=1,  # Log weight histograms every epoch
        write_graph=True,   # Log the model graph
        update_freq='epoch', # Log metrics every epoch
    )

    # Train with the TensorBoard callback
    model.fit(
        x_train, y_train,
        epochs=args.epochs,
        batch_size=args.batch_size,
        validation_data=(x_test, y_test),
        callbacks=[tensorboard_callback],
        verbose=1,
    )

    # Save the model
    model_dir = os.environ.get('AIP_MODEL_DIR', '/tmp/model')
    model.save(model_dir)

if __name__ == '__main__':
    main()
