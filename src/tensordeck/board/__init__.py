"""The TensorBoard web app over our store: pages, data, live refresh."""
