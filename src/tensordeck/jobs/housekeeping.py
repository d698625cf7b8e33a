"""What becomes of the folders of jobs that nobody looks after any more."""

import json
import logging
import shutil
import time
from pathlib import Path
from typing import Any, Final

from tensordeck.jobs import job_key
from tensordeck.jobs.job_folder import JobFolder
from tensordeck.jobs.means import Means
from tensordeck.store.resources import CustomJob

__all__ = ["clean"]

log: Final = logging.getLogger(__name__)

_DAY: Final = 86_400.0
_KEPT: Final = ("logs", "attempt.json")


def clean(means: Means) -> None:
    """Goes through all folders of jobs in the data directory.

    What runs for a job that somebody else looks after by now, or that was deleted, is ended. The
    folder of a deleted job goes; that of one that ended some days ago keeps its logs.
    """
    for _, attempt, folder in list(means.folders.attempts()):
        note = _note(folder)
        if note is None:
            continue
        job = means.store.catalog.find(CustomJob, note["job"])
        is_ours = job is not None and means.leases.is_from_here(job) and job.attempt == attempt
        if is_ours:
            continue
        if note["handle"]:
            means.executor(note["executor"]).cancel(note["handle"])
        job_key.withdraw(means.access, means.store.catalog, folder.key)
        if job is None:
            _remove(folder.path)
        elif job.state.ended and time.time() - job.end_time / 1e6 > (
            means.settings.keep_jobs_days * _DAY
        ):
            for path in folder.path.iterdir():
                if path.name not in _KEPT:
                    _remove(path)


def _note(folder: JobFolder) -> dict[str, Any] | None:
    try:
        return dict(json.loads(folder.note.read_text()))
    except (OSError, ValueError):
        return None


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
