"""What becomes of the folders of jobs that nobody looks after any more."""

import logging
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from tensordeck.errors import TensordeckError
from tensordeck.jobs import job_key
from tensordeck.jobs.job_folder import NOTE, JobFolder, Note
from tensordeck.jobs.means import Means
from tensordeck.jobs.process.environments import prune
from tensordeck.store.resources import CustomJob

__all__ = ["clean"]

log: Final = logging.getLogger(__name__)

_DAY_SECONDS: Final = 86_400.0
_KEPT: Final = ("logs", NOTE)


def clean(means: Means) -> None:
    """Goes through all folders of jobs in the data directory.

    What runs for a job that somebody else looks after by now, or that was deleted, is ended. The
    folder of a deleted job goes; that of one that ended some days ago keeps its logs. Environments
    that no job has used for as long go, too.
    """
    keep_seconds = means.settings.keep_jobs_days * _DAY_SECONDS
    prune(means.settings.data_dir.absolute() / "environments", keep_seconds)
    for _, attempt, folder in list(means.folders.attempts()):
        note = folder.note()
        if note is None:
            continue
        job = means.store.catalog.find(CustomJob, note.job)
        if job is None or job.attempt != attempt or not means.leases.is_from_here(job):
            try:
                _end(means, folder, note)
            except TensordeckError as error:  # the next time, then
                log.warning("What runs in %s could not be ended: %s", folder.path, error.message)
                continue
            _tidy(folder, job, means.settings.keep_jobs_days)


def _end(means: Means, folder: JobFolder, note: Note) -> None:
    if note.handle:
        means.executor(note.executor).cancel(note.handle)
        folder.leave_note(replace(note, handle={}))
    job_key.withdraw(means.access, means.store.catalog, folder.key)


def _tidy(folder: JobFolder, job: CustomJob | None, keep_days: float) -> None:
    if job is None:
        _remove(folder.path)
    elif job.state.ended and time.time() - job.end_time / 1e6 > keep_days * _DAY_SECONDS:
        for path in folder.path.iterdir():
            if path.name not in _KEPT:
                _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
