"""The tabs of a board, told without importing TensorBoard: the first page needs them at once.

The table repeats what TensorBoard's plugins say of themselves; a test compares the two.
"""

from collections.abc import Collection
from typing import Any, Final

__all__ = ["plugin_listing"]


def _tab(
    name: str,
    element: str | None,
    *,
    title: str = "",
    data: tuple[str, ...] = (),
    disable_reload: bool = False,
) -> tuple[str, tuple[str, ...], dict[str, Any]]:
    loading = (
        {"type": "CUSTOM_ELEMENT", "element_name": element} if element else {"type": "NG_COMPONENT"}
    )
    answer = {
        "disable_reload": disable_reload,
        "remove_dom": False,
        "tab_name": title or name,
        "loading_mechanism": loading,
    }
    return name, data or (name,), answer


_TABS: Final = (
    _tab("timeseries", None, title="Time Series", data=("scalars", "histograms", "images")),
    _tab("scalars", "tf-scalar-dashboard"),
    _tab("custom_scalars", "tf-custom-scalar-dashboard", title="Custom Scalars"),
    _tab("images", "tf-image-dashboard"),
    _tab("audio", "tf-audio-dashboard"),
    _tab(
        "graphs",
        "tf-graph-dashboard",
        data=(
            "graphs",
            "graph_run_metadata",
            "graph_run_metadata_graph",
            "graph_keras_model",
            "graph_tagged_run_metadata",
        ),
        disable_reload=True,
    ),
    _tab("distributions", "tf-distribution-dashboard", data=("histograms",)),
    _tab("histograms", "tf-histogram-dashboard"),
    _tab("text", "tf-text-dashboard"),
    _tab("pr_curves", "tf-pr-curve-dashboard", title="PR Curves"),
    _tab("hparams", "tf-hparams-dashboard"),
    _tab("mesh", "mesh-dashboard"),
)


def plugin_listing(plugins: Collection[str]) -> dict[str, dict[str, Any]]:
    """Returns the tabs, as `data/plugins_listing` answers them.

    Args:
        plugins: Names of the plugins that have data.
    """
    return {
        name: {**answer, "enabled": any(wanted in plugins for wanted in data)}
        for name, data, answer in _TABS
    }
