"""The built-in gcloud's `ai custom-jobs`."""

import argparse
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from tensordeck.cli.gcloud_arguments import (
    Command,
    Group,
    Invocation,
    Merge,
    list_options,
    pairs,
    words,
)
from tensordeck.errors import InvalidArgument

__all__ = ["GROUP"]

_POOL_KEYS: Final = frozenset(
    {
        *("replica-count", "machine-type", "accelerator-type", "accelerator-count"),
        *("container-image-uri", "executor-image-uri", "python-module"),
    }
)
_BUILDING_KEYS: Final = frozenset(
    {
        *("output-image-uri", "script", "local-package-path"),
        *("requirements", "extra-dirs", "extra-packages"),
    }
)
"""What makes gcloud build a container image first."""

_SUBMITTED: Final = """\
CustomJob [{name}] is submitted successfully.

Your job is still active. You may view the status of your job with the command

  $ gcloud ai custom-jobs describe {name}

or continue streaming the logs with the command

  $ gcloud ai custom-jobs stream-logs {name}"""
_CANCELLED: Final = """\
Request to cancel CustomJob [{name}] has been sent.

You may view the status of your job with the command

  $ gcloud ai custom-jobs describe {name}"""


def _create_options(target: argparse.ArgumentParser) -> None:
    target.add_argument("--display-name", required=True)
    target.add_argument("--labels", type=pairs, action=Merge, default={})
    target.add_argument("--worker-pool-spec", type=pairs, action="append", default=[])
    target.add_argument("--config", type=Path)
    target.add_argument("--args", type=words, action="extend", default=[])
    target.add_argument("--command", type=words, action="extend", default=[])
    target.add_argument("--python-package-uris", type=words, default=[])
    target.add_argument("--service-account")
    target.add_argument("--network")
    target.add_argument("--persistent-resource-id")
    target.add_argument("--enable-web-access", action="store_true")
    target.add_argument("--enable-dashboard-access", action="store_true")


def _create(call: Invocation) -> list[dict[str, Any]]:
    options = call.options
    if not options.config and not options.worker_pool_spec:
        raise InvalidArgument("At least one of --config, --worker-pool-spec must be specified.")
    body = {"displayName": options.display_name, "jobSpec": _job_spec(options)}
    if options.labels:
        body["labels"] = options.labels
    job = call.api.call("POST", f"{call.parent}/customJobs", body=body)
    print(_SUBMITTED.format(name=job["name"]), file=sys.stderr)
    return [job]


def _job_spec(options: argparse.Namespace) -> dict[str, Any]:
    """The CustomJobSpec: the file's, with what the command line says instead."""
    spec = _from_file(options.config) if options.config else {}
    for key, value in (
        ("network", options.network),
        ("serviceAccount", options.service_account),
        ("persistentResourceId", options.persistent_resource_id),
        ("enableWebAccess", options.enable_web_access),
        ("enableDashboardAccess", options.enable_dashboard_access),
    ):
        if value:
            spec[key] = value
    if options.worker_pool_spec:
        spec["workerPoolSpecs"] = [
            _pool(pool, options.python_package_uris) for pool in options.worker_pool_spec
        ]
    pools = spec.get("workerPoolSpecs", [])
    for pool in pools if isinstance(pools, list) else [pools]:  # gcloud takes a single one, too
        for task, key, value in (
            ("containerSpec", "args", options.args),
            ("pythonPackageSpec", "args", options.args),
            ("containerSpec", "command", options.command),
        ):
            if value and task in pool:
                pool[task][key] = value
    return spec


def _from_file(path: Path) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidArgument(f"--config {path} can't be read: {error}") from error
    if not isinstance(content, dict):
        raise InvalidArgument(f"--config {path} must hold a CustomJobSpec: `workerPoolSpecs: ...`.")
    return content


def _pool(given: Mapping[str, str], packages: list[str]) -> dict[str, Any]:
    """A worker pool as `--worker-pool-spec` describes it; one without anything stays empty."""
    if building := sorted(_BUILDING_KEYS & set(given)):
        raise InvalidArgument(
            f"--worker-pool-spec: {building[0]} builds a container image, which needs the real "
            "gcloud and Docker. Without them, package the script and give executor-image-uri, "
            "python-module and --python-package-uris."
        )
    if unknown := sorted(set(given) - _POOL_KEYS):
        raise InvalidArgument(
            f"--worker-pool-spec: valid keys are [{', '.join(sorted(_POOL_KEYS))}]; received: "
            f"{unknown[0]}."
        )
    if not given:
        return {}
    machine: dict[str, Any] = {}
    if "machine-type" in given:
        machine["machineType"] = given["machine-type"]
    if "accelerator-type" in given:
        machine["acceleratorType"] = given["accelerator-type"].upper().replace("-", "_")
        machine["acceleratorCount"] = given.get("accelerator-count", 1)
    pool = {"machineSpec": machine, "replicaCount": given.get("replica-count", 1)}
    if "container-image-uri" in given:
        pool["containerSpec"] = {"imageUri": given["container-image-uri"]}
    else:
        pool["pythonPackageSpec"] = {
            "executorImageUri": given.get("executor-image-uri", ""),
            "packageUris": packages,
            "pythonModule": given.get("python-module", ""),
        }
    return pool


def _describe(call: Invocation) -> list[dict[str, Any]]:
    return [call.api.call("GET", call.name)]


def _list(call: Invocation) -> list[dict[str, Any]]:
    return call.listed({})


def _cancel(call: Invocation) -> list[dict[str, Any]]:
    call.api.call("POST", f"{call.name}:cancel", body={})
    print(_CANCELLED.format(name=call.name), file=sys.stderr)
    return []


def _stream_options(target: argparse.ArgumentParser) -> None:
    target.add_argument("--task-name", default="")
    target.add_argument("--polling-interval", help="accepted; lines are shown as they come")
    target.add_argument(
        "--allow-multiline-logs", action="store_true", help="accepted; an entry is one line here"
    )


def _stream_logs(call: Invocation) -> None:
    """Prints a job's log until the job has ended."""
    from tensordeck.cli.job_logs import followed, message_of
    from tensordeck.cli.log_stream import LogStream
    from tensordeck.cli.training_api import TrainingApi

    api = TrainingApi(call.endpoint)
    job = api.find(call.name)
    for entry in followed(api, job, LogStream(call.endpoint, job, call.options.task_name)):
        moment = datetime.fromisoformat(entry["timestamp"]).astimezone()
        print(
            entry["severity"],
            f"{moment:%Y-%m-%d %H:%M:%S %z}",
            entry["resource"]["labels"]["task_name"],
            message_of(entry),
            sep="\t",
            flush=True,
        )


GROUP: Final = Group(
    "custom-jobs",
    "customJobs",
    "CUSTOM_JOB",
    {
        "create": Command(_create, _create_options),
        "describe": Command(_describe, takes_id=True, prints=True),
        "list": Command(_list, list_options, prints=True),
        "cancel": Command(_cancel, takes_id=True),
        "stream-logs": Command(_stream_logs, _stream_options, takes_id=True),
    },
)
"""The commands."""
