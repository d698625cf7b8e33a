"""What series say of themselves: descriptions for people, plugin data for plugins.

Both are optional and mostly empty, and only what is not empty needs TensorBoard's own code, whose
import the first page should not wait for.
"""

import importlib
import logging
from collections import defaultdict
from functools import lru_cache
from typing import Any, Final

from tensordeck.board.listing import SeriesByTag

__all__ = ["readable", "safe_html", "tag_descriptions"]

log: Final = logging.getLogger(__name__)

_METADATA: Final = {
    "scalars": "scalar",
    "histograms": "histogram",
    "images": "image",
    "audio": "audio",
    "text": "text",
    "pr_curves": "pr_curve",
    "mesh": "mesh",
}
"""Packages of `tensorboard.plugins` that read their own plugin data, by plugin name."""


@lru_cache(maxsize=4096)
def readable(plugin: str, content: bytes) -> bool:
    """Whether a plugin understands a series' plugin data: it fails as a whole over one it can't."""
    if not content or plugin not in _METADATA:
        return True
    metadata: Any = importlib.import_module(f"tensorboard.plugins.{_METADATA[plugin]}.metadata")
    try:
        version = getattr(metadata.parse_plugin_metadata(content), "version", 0)
    except Exception as error:  # noqa: BLE001 -- whatever a parser raises over a caller's bytes
        log.warning("Plugin data of a %s series is not readable: %s", plugin, error)
        return False
    return 0 <= version <= getattr(metadata, "PROTO_VERSION", 0)


def safe_html(markdown: str) -> str:
    """Markdown as HTML without anything active in it."""
    if not markdown:
        return ""
    from tensorboard import plugin_util  # noqa: PLC0415 -- only where a description exists

    html: str = plugin_util.markdown_to_safe_html(markdown)
    return html


def tag_descriptions(series: SeriesByTag) -> dict[str, str]:
    """Descriptions as HTML, by tag; where runs disagree, each with the runs that have it."""
    runs: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for run, by_tag in series.items():
        for tag, record in by_tag.items():
            if record.description:
                runs[tag][record.description].append(run)
    result = {}
    for tag, by_text in runs.items():
        texts = sorted(by_text)
        if len(texts) == 1:
            result[tag] = safe_html(texts[0])
            continue
        parts = ["# Multiple descriptions"]
        for text in texts:
            names = sorted(by_text[text])
            parts.append(
                f"## For {'runs' if len(names) > 1 else 'run'}: {', '.join(names)}\n{text}"
            )
        result[tag] = safe_html("\n".join(parts))
    return result
