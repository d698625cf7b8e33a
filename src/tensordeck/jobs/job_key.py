"""The credential of a job: a key of its service account, good for as long as the job runs."""

import contextlib
import json
from pathlib import Path

from tensordeck import errors, names
from tensordeck.access.local import LocalAccess
from tensordeck.services.projects import project_number
from tensordeck.store.contract import Catalog
from tensordeck.store.resources import Credential, CustomJob
from tensordeck.whole_file import write_whole

__all__ = ["issue", "service_account", "withdraw"]


def service_account(job: CustomJob) -> str:
    """The account that a job runs as: the spec's, else the one that the managed service takes."""
    given: str = job.job_spec.get("serviceAccount", "")
    project = names.ResourceName.parse(job.name).project
    return (
        given or f"service-{project_number(project)}@gcp-sa-aiplatform-cc.iam.gserviceaccount.com"
    )


def issue(access: LocalAccess, job: CustomJob, path: Path) -> None:
    """Makes a key for a job, unless its file is there already.

    Args:
        access: Where keys are made.
        job: The job.
        path: The key file to write; only its owner may read it.

    Raises:
        errors.InvalidArgument: If the account or the project can't be one.
    """
    if path.is_file():
        return
    project = names.ResourceName.parse(job.name).project
    key = access.create_service_account_key(service_account(job), project)
    write_whole(path, json.dumps(key).encode())


def withdraw(access: LocalAccess, catalog: Catalog, path: Path) -> None:
    """Revokes a job's key and removes its file and its record; no error if there is none."""
    try:
        key_id = json.loads(path.read_text())["private_key_id"]
    except FileNotFoundError:
        return
    with contextlib.suppress(errors.NotFound):
        access.revoke(key_id)
        # A list of credentials that shows every job that ever ran would hide the others.
        catalog.delete(Credential, key_id)
    path.unlink(missing_ok=True)
