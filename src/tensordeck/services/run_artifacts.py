"""Metadata artifacts that stand for TensorBoard runs: they go when their run goes.

The official client keeps an artifact `{experiment}-{run}-tb-run` for each run it backs with a
TensorBoard run, and follows it without asking whether that run still exists: one left behind
breaks every later listing of the experiment (googleapis/python-aiplatform issue 2299).
"""

import contextlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from tensordeck import names
from tensordeck.errors import NotFound
from tensordeck.store.contract import Catalog
from tensordeck.store.resources import Artifact

SUFFIX: Final = "-tb-run"
_DEFAULT_STORE: Final = "metadataStores/default"
_DELETERS: Final = 16


def remove_run_artifacts(catalog: Catalog, runs: Sequence[str]) -> None:
    """Deletes the artifacts that refer to runs which are being deleted.

    Args:
        catalog: Where they are.
        runs: Full names of the runs.
    """
    of_run = {_artifact_name(run): run for run in runs}
    referring = [
        name
        for name, artifact in catalog.find_many(Artifact, list(of_run)).items()
        if _same_resource(str(artifact.metadata.get("resourceName", "")), of_run[name])
    ]

    def delete(name: str) -> None:
        with contextlib.suppress(NotFound):  # its owner deletes it at this moment
            catalog.delete(Artifact, name)

    if referring:
        # Each deletion waits for its commit; those under way together share one.
        with ThreadPoolExecutor(min(_DELETERS, len(referring))) as deleters:
            list(deleters.map(delete, referring))


def _artifact_name(run: str) -> str:
    name = names.parse(run, names.RUN)
    place = f"projects/{name.project}/locations/{name.location}/{_DEFAULT_STORE}"
    return f"{place}/artifacts/{name.ids[3]}-{name.id}{SUFFIX}"


def _same_resource(left: str, right: str) -> bool:
    """Whether two names are one resource's; the project may be named by id or by number."""
    return left.partition("/locations/")[2] == right.partition("/locations/")[2]
