"""The environment of a job's replicas, as custom training on Vertex AI has it.

Names: https://cloud.google.com/vertex-ai/docs/training/code-requirements#environment-variables, and
those that the official client reads inside a job. Where the managed service has `gs://` folders
there are folders of this host, which reach Cloud Storage while the job writes to them.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tensordeck import names
from tensordeck.jobs.bucket_paths import parse_uri
from tensordeck.jobs.cluster import Cluster
from tensordeck.jobs.job_folder import JobFolder
from tensordeck.redirect.endpoint import Endpoint
from tensordeck.redirect.environment import CA_VARIABLES, child_environment
from tensordeck.store.resources import CustomJob

__all__ = ["JobEnvironment"]

_API_HOST: Final = "aiplatform.googleapis.com"
"""What `AIP_TENSORBOARD_API_URI` holds: clients put the region before it."""

_BASE: Final = "job_spec.base_output_directory.output_uri_prefix"


@dataclass(frozen=True, slots=True)
class JobEnvironment:
    """What the replicas of one attempt get to see.

    Attributes:
        job: The job.
        folder: The attempt's folder.
        cluster: The replicas' addresses.
        endpoint: Our server, with the job's own credentials.
    """

    job: CustomJob
    folder: JobFolder
    cluster: Cluster
    endpoint: Endpoint

    def log_dir(self) -> Path | None:
        """Where the job is to write event files; None if nobody asked for any.

        The managed service only has one when an output directory is given. A job that is linked
        to an instance is meant to log, and gets one all the same.

        Raises:
            InvalidArgument: If the output directory is no `gs://` URI.
        """
        if base := self._base():
            return base / "logs"
        return self.folder.event_files if self.job.job_spec.get("tensorboard") else None

    def output_folders(self) -> dict[str, Path]:
        """The variables that hold folders, and the folders. Raises as `log_dir`."""
        folders = {}
        if base := self._base():
            folders = {"AIP_MODEL_DIR": base / "model", "AIP_CHECKPOINT_DIR": base / "checkpoints"}
        log_dir = self.log_dir()
        return folders | ({"AIP_TENSORBOARD_LOG_DIR": log_dir} if log_dir else {})

    def variables(self, pool: int, index: int, own: Mapping[str, str]) -> dict[str, str]:
        """All variables of one replica; none come from the server's own environment.

        Args:
            pool: Its worker pool.
            index: Its index in the pool.
            own: The variables that the spec gives it; they win.

        Raises:
            InvalidArgument: As `log_dir`.
        """
        return {
            "HOME": str(self.folder.home),
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",  # a log is read while it is written
            **self._redirect(),
            **self._vertex(),
            # The service's folders end in a slash, and programs join names to them without one.
            **{variable: f"{path}/" for variable, path in self.output_folders().items()},
            **self.cluster.variables(pool, index, self.job.job_spec),
            **{name: self.folder.buckets.rewritten(value) for name, value in own.items()},
        }

    def _vertex(self) -> dict[str, str]:
        name = names.ResourceName.parse(self.job.name)
        spec = self.job.job_spec
        variables = {
            "CLOUD_ML_JOB_ID": name.id,
            "CLOUD_ML_PROJECT_ID": name.project,
            "CLOUD_ML_REGION": name.location,
            "GOOGLE_CLOUD_PROJECT": name.project,
            "CLOUDSDK_CORE_PROJECT": name.project,
            "CLOUDSDK_AI_REGION": name.location,
        }
        if spec.get("tensorboard"):
            variables["AIP_TENSORBOARD_RESOURCE_NAME"] = spec["tensorboard"]
            variables["AIP_TENSORBOARD_API_URI"] = _API_HOST
        return variables | _experiment(spec)

    def _redirect(self) -> dict[str, str]:
        # Companies' certificate authorities are no secret, and packages come through them.
        inherited = {name: os.environ[name] for name in CA_VARIABLES if name in os.environ}
        # Without these it would look for what the server's own user has configured.
        ours = {"CLOUDSDK_CONFIG": str(self.folder.gcloud), "GOOGLE_CLOUD_PROJECT": "-"}
        return child_environment(self.endpoint, {**inherited, **ours})

    def _base(self) -> Path | None:
        uri = self.job.job_spec.get("baseOutputDirectory", {}).get("outputUriPrefix", "")
        return self.folder.buckets.of(*parse_uri(uri, _BASE)) if uri else None


def _experiment(spec: dict[str, Any]) -> dict[str, str]:
    """Experiment and run by their short names, which scripts pass on to the client."""
    experiment = str(spec.get("experiment", "")).rpartition("/")[2]
    run = str(spec.get("experimentRun", "")).rpartition("/")[2]
    variables = {"AIP_EXPERIMENT_NAME": experiment} if experiment else {}
    if run:
        variables["AIP_EXPERIMENT_RUN_NAME"] = run.removeprefix(f"{experiment}-")
    return variables
