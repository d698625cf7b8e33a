"""Draws horizontal bars with matplotlib: orders as JSON on standard input; see `plots`."""

import json
import sys

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt

TEXT = "#7a8592"  # legible on white and on black
OURS, OTHERS = "#e8710a", "#5b8ff9"

mpl.rcParams.update(
    {
        "svg.fonttype": "none",
        "svg.hashsalt": "tensordeck",
        "font.family": "sans-serif",
        "font.size": 9,
        **dict.fromkeys(
            ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), TEXT
        ),
    }
)


def draw(order: dict) -> None:
    groups = order["groups"]
    rows = sum(len(group["bars"]) for group in groups)
    figure, axes = plt.subplots(
        len(groups),
        1,
        figsize=(7, 0.26 * rows + 0.55 * len(groups) + 0.4),
        squeeze=False,
        gridspec_kw={"height_ratios": [len(group["bars"]) for group in groups]},
    )
    for (axis,), group in zip(axes, groups, strict=True):
        names, numbers = zip(*reversed(group["bars"]), strict=True)
        colours = [OURS if name.startswith("Tensordeck") else OTHERS for name in names]
        bars = axis.barh(names, numbers, color=colours, height=0.7)
        axis.bar_label(bars, [f"{number:,.4g}" for number in numbers], padding=3, color=TEXT)
        wide = max(numbers) > 20 * min(numbers) > 0
        axis.set_xscale("log" if wide else "linear")
        axis.margins(x=0.12)
        axis.set_title(
            f"{group['label']}, {order['unit']}{', logarithmic' if wide else ''}",
            fontsize=9,
            loc="left",
        )
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(length=0)
    figure.suptitle(order["title"], fontsize=11, x=0.01, ha="left")
    figure.tight_layout()
    figure.savefig(order["file"], transparent=True, metadata={"Date": None})
    plt.close(figure)


for each in json.load(sys.stdin):
    draw(each)
