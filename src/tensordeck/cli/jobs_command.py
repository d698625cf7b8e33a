"""`tensordeck jobs`: lists, explains and cancels training jobs, and shows their logs."""

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from tensordeck.cli import job_logs
from tensordeck.cli.job_options import AsFormat, Format, JobId
from tensordeck.cli.settings_options import (
    CaFile,
    CredentialsFile,
    DataDir,
    Port,
    Url,
    endpoint_of,
)
from tensordeck.redirect.endpoint import Endpoint

if TYPE_CHECKING:
    from tensordeck.cli.training_api import TrainingApi

__all__ = ["application"]

application = typer.Typer(
    help="List, explain and cancel training jobs; show their logs.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_NO_JOBS: Final = """\
There are no jobs yet. Run one:

  tensordeck exec -- python run_training.py
  tensordeck exec -- gcloud ai custom-jobs create --region=us-central1 --display-name=hello \\
      --worker-pool-spec=machine-type=n1-standard-4,container-image-uri=tensordeck/server \\
      --command=python --args=-c,'print("hello")'
"""


@application.command("list")
def list_jobs(
    condition: Annotated[
        str,
        typer.Option(
            "--filter",
            metavar="FILTER",
            help="Only these, e.g. 'state=\"JOB_STATE_RUNNING\"' or 'display_name:\"mnist\"'.",
        ),
    ] = "",
    project: Annotated[str, typer.Option(metavar="ID", help="Only this project's.")] = "-",
    region: Annotated[str, typer.Option(metavar="REGION", help="Only this region's.")] = "-",
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="At most so many.")] = 50,
    style: AsFormat = Format.TEXT,
    data_dir: DataDir = None,
    port: Port = None,
    url: Url = None,
    credentials: CredentialsFile = None,
    ca: CaFile = None,
) -> None:
    """List custom jobs, newest first; a training pipeline's job is one of them."""
    api, _ = _open(data_dir, port, url, credentials, ca)
    jobs = list(api.jobs(project, region, condition, limit + 1))
    shown = jobs[:limit]
    if style is Format.JSON:
        print(json.dumps(shown, indent=2))
        return
    if not shown:
        asked = condition or project != "-" or region != "-"
        print("No job matches." if asked else _NO_JOBS, end="\n" if asked else "", file=sys.stderr)
        return
    from tensordeck.cli.job_views import table

    print("\n".join(table(shown, time.time())))
    if len(jobs) > limit:
        print(f"There are more; --limit {limit * 4} shows them.", file=sys.stderr)


@application.command("describe")
def describe(
    given: JobId,
    style: AsFormat = Format.TEXT,
    data_dir: DataDir = None,
    port: Port = None,
    url: Url = None,
    credentials: CredentialsFile = None,
    ca: CaFile = None,
) -> None:
    """Tell how a job is, what it runs, why it failed, and where its dashboard is."""
    api, endpoint = _open(data_dir, port, url, credentials, ca)
    job = api.find(given)
    if style is Format.JSON:
        print(json.dumps(job, indent=2))
        return
    from tensordeck.cli.job_views import summary
    from tensordeck.cli.open_command import page_path

    experiment = api.experiment_of(job)
    board = endpoint.url + page_path(experiment) if experiment else ""
    print("\n".join(summary(job, api.pipeline_of(job), board, time.time())))


@application.command("cancel")
def cancel(
    given: JobId,
    data_dir: DataDir = None,
    port: Port = None,
    url: Url = None,
    credentials: CredentialsFile = None,
    ca: CaFile = None,
) -> None:
    """Ask a job to end. Its processes get SIGTERM, and SIGKILL when they take too long."""
    api, _ = _open(data_dir, port, url, credentials, ca)
    from tensordeck.cli.training_api import has_ended, job_id, state_of

    job = api.find(given)
    if has_ended(job):
        print(f"Job {job_id(job)} has ended already: it is {state_of(job)}.")
        return
    api.cancel(job)
    print(
        f"Job {job_id(job)} is being cancelled. `tensordeck jobs logs {job_id(job)} --follow` "
        "returns when it has ended."
    )


application.command("logs")(job_logs.logs)


def _open(
    data_dir: Path | None,
    port: int | None,
    url: str | None,
    credentials: Path | None,
    ca: Path | None,
) -> tuple["TrainingApi", Endpoint]:
    """The API of the server that is meant, which answers."""
    endpoint = endpoint_of(data_dir, port, url, credentials, ca)
    from tensordeck.cli.training_api import TrainingApi

    return TrainingApi(endpoint), endpoint
