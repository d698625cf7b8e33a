"""Plots of the medians, as SVG that reads on white and on black."""

import json
import statistics
import subprocess
from pathlib import Path
from typing import NamedTuple

from benchmarks.peers import environments
from benchmarks.peers.results import Results

SCRIPT = Path(__file__).with_name("draw_plots.py")


class Plot(NamedTuple):
    """Bars of one figure or several.

    Attributes:
        file: Name without suffix.
        title: What it shows.
        bars: (workload, figure, label) of each group of bars.
        unit: Of the axis.
    """

    file: str
    title: str
    bars: tuple[tuple[str, str, str], ...]
    unit: str


PLOTS = (
    Plot(
        "points-in",
        "Points in (more is better)",
        (
            ("batch_write", "points_per_s", "(a) fastest path"),
            ("step_write", "points_per_s", "(b) one call a step"),
        ),
        "points/s",
    ),
    Plot(
        "reads",
        "Answers (less is better)",
        (
            ("long_series", "whole_ms", "(c) long series, whole"),
            ("long_series", "sampled_ms", "(c) long series, sampled"),
            ("board", "first_ms", "(d) chart of 100 runs"),
        ),
        "ms",
    ),
    Plot(
        "bytes",
        "On disk (less is better)",
        (
            ("batch_write", "bytes_per_point", "(e) short series"),
            ("long_series", "bytes_per_point", "(e) long series"),
        ),
        "bytes a point",
    ),
    Plot("start", "Start to first answer (less is better)", (("start", "start_s", "(f)"),), "s"),
)


def draw(results: Results, folder: Path) -> list[tuple[str, Path]]:
    """Draws the plots that there are figures for; returns their titles and files."""
    python = environments.environment("plots", "matplotlib==3.10.8")
    drawn, orders = [], []
    for plot in PLOTS:
        groups = [
            {"label": label, "bars": _medians(results, workload, figure)}
            for workload, figure, label in plot.bars
        ]
        groups = [group for group in groups if group["bars"]]
        if groups:
            file = folder / f"peers-{plot.file}.svg"
            orders.append(
                {"file": str(file), "title": plot.title, "unit": plot.unit, "groups": groups}
            )
            drawn.append((plot.title, file))
    subprocess.run([python, SCRIPT], input=json.dumps(orders), text=True, check=True)
    return drawn


def _medians(results: Results, workload: str, figure: str) -> list[tuple[str, float]]:
    found = []
    for peer, about in results.peers.items():
        if values := results.all(peer, workload, figure):
            found.append((about["title"], statistics.median(values)))
    return found
