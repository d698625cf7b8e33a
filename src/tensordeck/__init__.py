"""Tensordeck: the open, self-hosted home of TensorBoard experiments."""

__version__ = "0.1.0"
