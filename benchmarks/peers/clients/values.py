"""The numbers that all clients write: noisy training curves in full double precision."""

import numpy as np


def curve(seed: int, steps: int) -> list[float]:
    """A curve that falls, with noise; no two are alike."""
    noise = np.random.default_rng(seed).normal(0, 0.05, steps)
    return (np.exp(-np.arange(steps) / (200 + seed % 97)) + noise).tolist()


def rows(client: int, series: int, steps: int) -> list[dict[str, float]]:
    """A training loop's metrics: for each step a dictionary of `series` scalars."""
    curves = [curve(client * 1000 + tag, steps) for tag in range(series)]
    names = [f"tag_{tag}" for tag in range(series)]
    return [dict(zip(names, values, strict=True)) for values in zip(*curves, strict=True)]


def marks(step: int) -> dict[str, float]:
    """What is written until the server is killed: 20 scalars that tell their step."""
    return {f"tag_{tag}": float(step) for tag in range(20)}
