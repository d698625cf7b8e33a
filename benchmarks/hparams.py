"""How fast the HParams table is answered: our board against TensorBoard on event files.

    python benchmarks/hparams.py [--runs 1000] [--params 25] [--metrics 25] [--rounds 20]

Half of our metrics were logged as such (`log_metrics`), the other half are curves of 10 points; for
TensorBoard the same numbers lie in event files with summaries of the hparams plugin. Asked is what
the HParams tab asks for when it opens (`experiment`, `session_groups` with 100 rows), the whole
table, and the whole table sorted by a parameter, by a logged metric and by a curve's last value.

"CPU" is the server's own time for an answer; each of ours is to another question, so that no kept
answer counts. Before every round a run is logged to, so that the table is read again.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.plugins.hparams import plugin_data_pb2

from board import (
    BROWSER,
    EXPERIMENT,
    INSTANCE,
    TENSORBOARD,
    cpu_seconds,
    free_port,
    patiently,
    process,
    record,
)
from tensordeck.access import open_access
from tensordeck.names import board_id
from tensordeck.settings import Settings
from tensordeck.store import open_store
from tensordeck.store.contract import ScalarColumns, SeriesPoints, Store
from tensordeck.store.resources import (
    Artifact,
    Context,
    Experiment,
    MetadataStore,
    Run,
    Tensorboard,
    TimeSeries,
)

POINTS = 10
METADATA = f"{INSTANCE.partition('/tensorboards')[0]}/metadataStores/default"
ABOVE = f"{METADATA}/contexts/{EXPERIMENT.rpartition('/')[2]}"
STATUSES = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]


def parameters(run: int, count: int) -> dict[str, float | str | bool]:
    """Numbers mostly, every fifth a text, every tenth a truth value."""
    rng = np.random.default_rng(run)
    values: dict[str, float | str | bool] = {}
    for at, value in enumerate(rng.random(count).tolist()):
        name = f"param_{at:02}"
        if at % 10 == 9:
            values[name] = value > 0.5
        elif at % 5 == 4:
            values[name] = f"choice-{int(value * 8)}"
        else:
            values[name] = value
    return values


def measurements(run: int, count: int) -> dict[str, float]:
    values = np.random.default_rng(10_000 + run).random(count).tolist()
    return {f"metric_{at:02}": value for at, value in enumerate(values)}


def fill_store(store: Store, runs: int, params: int, metrics: int, points: int = POINTS) -> None:
    """What the official client leaves after `log_params`, `log_metrics` and time series.

    Half of the metrics are curves of so many points, noise down to the last one.
    """
    catalog = store.catalog
    catalog.create_many(
        [
            Tensorboard(name=INSTANCE),
            Experiment(name=EXPERIMENT, display_name="curves"),
            MetadataStore(name=METADATA),
            Context(name=ABOVE, schema_title="system.Experiment"),
        ]
    )
    steps = np.arange(points)
    walls = ((1e9 + steps) * 1e9).astype(np.int64)
    noise = np.random.default_rng(0).normal(0, 0.05, points)
    noise[-1] = 0

    def fill(number: int) -> None:
        measured = list(measurements(number, metrics).items())
        logged, curves = dict(measured[: metrics // 2]), dict(measured[metrics // 2 :])
        run_id = f"run-{number:04}"
        name, context = f"{EXPERIMENT}/runs/{run_id}", f"{ABOVE}-{run_id}"
        artifact = f"{METADATA}/artifacts/{run_id}-tb-run"
        own = {"_params": parameters(number, params), "_metrics": logged, "_state": "COMPLETE"}
        run, _, _, *series = catalog.create_many(
            [
                Run(name=name, display_name=run_id),
                Context(name=context, schema_title="system.ExperimentRun", metadata=own),
                Artifact(
                    name=artifact,
                    schema_title="google.VertexTensorboardRun",
                    metadata={"resourceName": name},
                ),
                *(
                    TimeSeries(
                        name=f"{name}/timeSeries/{at}", display_name=tag, plugin_name="scalars"
                    )
                    for at, tag in enumerate(curves)
                ),
            ]
        )
        catalog.add_links("member", context, [artifact])
        columns = [ScalarColumns(steps, walls, last + noise) for last in curves.values()]
        store.points.append(
            [SeriesPoints(one.pk, run.pk, c) for one, c in zip(series, columns, strict=True)]
        )

    with ThreadPoolExecutor(16) as fillers:  # they share commits
        list(fillers.map(fill, range(runs)))
    catalog.add_links("child", ABOVE, [f"{ABOVE}-run-{number:04}" for number in range(runs)])
    while store.points.fold():
        pass


def write_event_files(logdir: Path, runs: int, params: int, metrics: int) -> None:
    for number in range(runs):
        folder = logdir / f"run-{number:04}"
        folder.mkdir(parents=True)
        events = [event_pb2.Event(wall_time=1e9, file_version="brain.Event:2")]
        start = plugin_data_pb2.HParamsPluginData()
        start.session_start_info.start_time_secs = 1e9
        for name, value in parameters(number, params).items():
            own = start.session_start_info.hparams[name]
            if isinstance(value, str):
                own.string_value = value
            elif isinstance(value, bool):
                own.bool_value = value
            else:
                own.number_value = value
        end = plugin_data_pb2.HParamsPluginData()
        end.session_end_info.end_time_secs = 2e9
        for tag, data in (("session_start_info", start), ("session_end_info", end)):
            summary = summary_pb2.Summary.Value(tag=f"_hparams_/{tag}")
            summary.metadata.plugin_data.plugin_name = "hparams"
            summary.metadata.plugin_data.content = data.SerializeToString()
            events.append(
                event_pb2.Event(wall_time=1e9, summary=summary_pb2.Summary(value=[summary]))
            )
        for step in range(POINTS):
            values = [
                summary_pb2.Summary.Value(tag=tag, simple_value=last - POINTS + 1 + step)
                for tag, last in measurements(number, metrics).items()
            ]
            summary = summary_pb2.Summary(value=values)
            events.append(event_pb2.Event(wall_time=1e9 + step, step=step, summary=summary))
        name = folder / "events.out.tfevents.1000000000.bench"
        name.write_bytes(b"".join(record(event.SerializeToString()) for event in events))


def questions(params: int, metrics: int, salt: int) -> dict[str, tuple[str, dict]]:
    """What is asked for, by name; `salt` makes a question new without changing its answer."""
    columns: list[dict] = [
        {"hparam": f"param_{at:02}", "includeInResult": True} for at in range(params)
    ]
    columns += [
        {"metric": {"group": "", "tag": f"metric_{at:02}"}, "includeInResult": True}
        for at in range(metrics)
    ]

    def rows(size: int, by: int | None = None) -> tuple[str, dict]:
        ordered = [
            {**column, "order": "ORDER_DESC"} if at == by else column
            for at, column in enumerate(columns)
        ]
        request = {"allowedStatuses": STATUSES, "colParams": ordered, "startIndex": 0}
        return "session_groups", {**request, "sliceSize": size, "experimentName": f"x{salt}"}

    return {
        "columns": ("experiment", {"hparamsLimit": 1000, "experimentName": f"x{salt}"}),
        "first 100 rows": rows(100),
        "all rows": rows(1_000_000),
        "sorted by a parameter": rows(1_000_000, 0),
        "sorted by a logged metric": rows(1_000_000, params),
        "sorted by a curve": rows(1_000_000, params + metrics - 1),
    }


def ask(client: httpx.Client, path: str, request: dict) -> tuple[float, bytes]:
    """Asks as the tab does; returns milliseconds and the body."""
    began = time.perf_counter()
    with client.stream("POST", f"data/plugin/hparams/{path}", content=json.dumps(request)) as reply:
        body = b"".join(reply.iter_raw())
    took = (time.perf_counter() - began) * 1000
    reply.raise_for_status()
    return took, body


def measure(
    client: httpx.Client, pid: int, options: argparse.Namespace, before: Callable[[int], None]
) -> dict[str, tuple[float, float, int]]:
    """Milliseconds, milliseconds of CPU and bytes of each question, means of all rounds."""
    times: dict[str, list[tuple[float, float, int]]] = {}
    for salt in range(options.rounds + 1):
        before(salt)
        for name, (path, request) in questions(options.params, options.metrics, salt).items():
            cpu = cpu_seconds(pid)
            took, body = ask(client, path, request)
            if salt:  # the first round imports and lists
                times.setdefault(name, []).append(
                    (took, (cpu_seconds(pid) - cpu) * 1000, len(body))
                )
    return {
        name: tuple(statistics.fmean(column) for column in zip(*rows, strict=True))
        for name, rows in times.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--params", type=int, default=25)
    parser.add_argument("--metrics", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    shape = (options.runs, options.params, options.metrics)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        print(f"{options.runs} runs x {options.params} parameters and {options.metrics} metrics")
        ours = measure_ours(place / "data", shape, options)
        theirs = measure_tensorboard(place / "logs", shape, options)
    for name, (took, cpu, size) in ours.items():
        other, other_cpu, _ = theirs[name]
        print(
            f"{name:26} Tensordeck {took:7.1f} ms ({cpu:6.1f} ms of CPU, {size / 1000:6.0f} kB)   "
            f"TensorBoard {other:8.1f} ms ({other_cpu:7.1f} ms of CPU)   ratio {other / took:5.1f}"
        )
    opening = ours["columns"][1] + ours["first 100 rows"][1]
    print(
        f"server time: {opening:.0f} ms for what the tab asks for when it opens, "
        f"{ours['all rows'][1]:.0f} ms for all rows (wanted: 300)"
    )


def measure_ours(data_dir: Path, shape: tuple[int, int, int], options: argparse.Namespace) -> dict:
    data_dir.mkdir(parents=True)
    settings = Settings(data_dir=data_dir)
    store = open_store(settings)
    fill_store(store, *shape)
    access = open_access(store.catalog, settings)
    owner = next(one.id for one in access.list_credentials() if one.kind == "owner")
    headers = {**BROWSER, "Authorization": f"Bearer {access.access_token(owner)}"}
    store.close()
    port = free_port()
    server = (sys.executable, "-m", "tensordeck", "serve", "--port", str(port))
    with process(*server, "--data-dir", str(data_dir)) as child:
        base = f"http://127.0.0.1:{port}/experiment/{board_id(EXPERIMENT)}/"
        with httpx.Client(base_url=base, headers=headers, timeout=60) as client:
            patiently(client, "/healthz")
            return measure(client, child.pid, options, lambda round_: log_more(client, round_))


def log_more(client: httpx.Client, round_: int) -> None:
    """Logs a metric to a run, as the client's `log_metrics` over REST."""
    url = client.base_url.copy_with(path=f"/v1/{ABOVE}-run-0000")
    context = client.get(url).raise_for_status().json()
    context["metadata"]["_metrics"]["metric_00"] = round_ / 10
    client.patch(url, json=context).raise_for_status()


def measure_tensorboard(
    logdir: Path, shape: tuple[int, int, int], options: argparse.Namespace
) -> dict:
    write_event_files(logdir, *shape)
    port = free_port()
    server = (sys.executable, "-c", TENSORBOARD, "--load_fast=true", "--port", str(port))
    with (
        process(*server, "--logdir", str(logdir)) as child,
        httpx.Client(base_url=f"http://127.0.0.1:{port}/", headers=BROWSER, timeout=120) as client,
    ):
        patiently(client, "data/runs")
        while len(client.get("data/runs").json()) < shape[0]:
            time.sleep(0.5)
        time.sleep(2)  # the last file may still be under way
        few = argparse.Namespace(**{**vars(options), "rounds": min(3, options.rounds)})
        return measure(client, child.pid, few, lambda _: None)


if __name__ == "__main__":
    main()
