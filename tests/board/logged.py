"""What the official client's experiment tracking leaves in a store, made without it."""

from collections.abc import Mapping

import numpy as np

from tensordeck.errors import AlreadyExists
from tensordeck.names import ResourceName
from tensordeck.store.contract import Catalog, ScalarColumns, SeriesPoints, Store
from tensordeck.store.resources import Artifact, Context, MetadataStore, Run, TimeSeries

RUN_SCHEMA, ARTIFACT_SCHEMA = "system.ExperimentRun", "google.VertexTensorboardRun"


def log_run(
    catalog: Catalog,
    experiment: str,
    run_id: str,
    params: Mapping[str, object] | None = None,
    metrics: Mapping[str, object] | None = None,
    state: str = "RUNNING",
) -> Run:
    """Makes an experiment run, as `start_run`, `log_params` and `log_metrics` do."""
    name = ResourceName.parse(experiment)
    store = f"projects/{name.project}/locations/{name.location}/metadataStores/default"
    above, context = f"{store}/contexts/{name.id}", f"{store}/contexts/{name.id}-{run_id}"
    for parent in (MetadataStore(name=store), Context(name=above)):
        try:
            catalog.create(parent)
        except AlreadyExists:
            continue
    run = catalog.find(Run, f"{experiment}/runs/{run_id}") or catalog.create(
        Run(name=f"{experiment}/runs/{run_id}", display_name=run_id)
    )
    artifact = f"{store}/artifacts/{name.id}-{run_id}-tb-run"
    metadata = {"_params": dict(params or {}), "_metrics": dict(metrics or {}), "_state": state}
    catalog.create_many(
        [
            Context(name=context, schema_title=RUN_SCHEMA, metadata=metadata),
            Artifact(
                name=artifact, schema_title=ARTIFACT_SCHEMA, metadata={"resourceName": run.name}
            ),
        ]
    )
    catalog.add_links("member", context, [artifact])
    catalog.add_links("child", above, [context])
    return run


def add_curves(store: Store, run: Run, curves: Mapping[str, list[float]]) -> None:
    """Writes scalars, a value a step."""
    made = store.catalog.create_many(
        [
            TimeSeries(name=f"{run.name}/timeSeries/{at}", display_name=tag, plugin_name="scalars")
            for at, tag in enumerate(curves)
        ]
    )
    store.points.append(
        [
            SeriesPoints(
                series.pk,
                run.pk,
                ScalarColumns(
                    np.arange(len(values)),
                    1_700_000_000 * 10**9 + np.arange(len(values)),
                    np.array(values, dtype=float),
                ),
            )
            for series, values in zip(made, curves.values(), strict=True)
        ]
    )
