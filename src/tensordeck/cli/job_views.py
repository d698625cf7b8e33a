"""Custom jobs as people read them in a terminal."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from tensordeck.cli.styles import BOLD, printable, styled
from tensordeck.cli.text_table import aligned
from tensordeck.cli.training_api import Job, has_ended, job_id, state_of
from tensordeck.console.display import human_time

__all__ = ["duration", "ending", "summary", "table"]

_LONGEST: Final = 200
"""Characters of a command that are shown: it may be a whole script."""


def table(jobs: Sequence[Job], now: float) -> list[str]:
    """Jobs as lines with aligned columns, the heading first.

    Args:
        jobs: At least one.
        now: Seconds since the epoch.
    """
    rows = [["ID", "STATE", "CREATED", "DURATION", "NAME"]]
    rows += (
        [
            job_id(job),
            state_of(job),
            _ago(job["createTime"], now),
            duration(job, now),
            printable(job["displayName"]),
        ]
        for job in jobs
    )
    return aligned(rows)


def summary(job: Job, pipeline: Mapping[str, Any], experiment_url: str, now: float) -> list[str]:
    """What there is to know about a job.

    Args:
        job: The job.
        pipeline: Its training pipeline; empty for none.
        experiment_url: The address of its dashboard; empty for none.
        now: Seconds since the epoch.
    """
    number, spec = job_id(job), job["jobSpec"]
    facts = [
        ("state", f"{state_of(job)}{_after(job, now)}"),
        ("created", f"{_shown(job['createTime'])} ({_ago(job['createTime'], now)})"),
        ("started", _shown(job.get("startTime", ""))),
        ("ended", _shown(job.get("endTime", ""))),
        *_pools(spec),
        ("output", spec.get("baseOutputDirectory", {}).get("outputUriPrefix", "")),
        ("account", spec.get("serviceAccount", "")),
        ("labels", ", ".join(f"{key}={value}" for key, value in job.get("labels", {}).items())),
        ("run", spec.get("experimentRun", "")),
        ("pipeline", pipeline.get("name", "")),
        ("model", pipeline.get("modelToUpload", {}).get("name", "")),
        ("resource", job["name"]),
        ("dashboard", experiment_url),
        ("logs", f"tensordeck jobs logs {number}{'' if has_ended(job) else ' --follow'}"),
    ]
    lines = [styled(BOLD, f"Job {number}: {printable(job['displayName'])}")]
    lines += (f"  {label:10} {printable(text)}" for label, text in facts if text)
    # A pipeline fails alone where its model can't be registered.
    error = job.get("error") or pipeline.get("error", {})
    if message := error.get("message", ""):
        lines += ["", *map(printable, message.splitlines())]
    return lines


def ending(job: Job, now: float) -> str:
    """How a job ended, in one line."""
    why = str(job.get("error", {}).get("message", "")).partition("\n")[0]
    text = f"Job {job_id(job)}: {state_of(job)}{_after(job, now)}."
    return f"{text} {printable(why)}" if why else text


def duration(job: Job, now: float) -> str:
    """How long a job ran, or has run; `-` for one that never did."""
    if not job.get("startTime"):
        return "-"
    end = _seconds(job["endTime"]) if job.get("endTime") else now
    passed = max(0.0, end - _seconds(job["startTime"]))
    if passed < 60:
        return f"{passed:.1f} s" if passed < 9.95 else f"{passed:.0f} s"
    minutes, seconds = divmod(round(passed), 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def _pools(spec: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Of each worker pool how many replicas there are, on what, and what they run."""
    for pool in filter(None, spec["workerPoolSpecs"]):
        machine = pool.get("machineSpec", {})
        text = f"{pool.get('replicaCount', 1)} x {machine.get('machineType', 'any machine')}"
        if count := machine.get("acceleratorCount", 0):
            text += f" with {count} {machine.get('acceleratorType', '')}"
        task = pool.get("pythonPackageSpec") or pool.get("containerSpec") or {}
        image = task.get("executorImageUri") or task.get("imageUri", "")
        module = ["python", "-m", task["pythonModule"]] if "pythonModule" in task else []
        words = [*module, *task.get("command", []), *task.get("args", [])]
        command = " ".join(shlex.join(words).split())
        yield "replicas", f"{text}, {image}"
        yield "command", command if len(command) <= _LONGEST else f"{command[:_LONGEST]}…"


def _after(job: Job, now: float) -> str:
    shown = duration(job, now)
    if shown == "-":
        return ""
    return f" after {shown}" if has_ended(job) else f" for {shown}"


def _ago(moment: str, now: float) -> str:
    return human_time(round(_seconds(moment) * 1e6), now)


def _shown(moment: str) -> str:
    """A time of the API as the clock on the wall shows it."""
    return f"{datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M:%S}" if moment else ""


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
