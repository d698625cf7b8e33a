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
from tensordeck.jobs.cluster import Cluster
from tensordeck.jobs.job_folder import JobFolder
from tensordeck.redirect.endpoint import Endpoint
from tensordeck.redirect.environment import CA_VARIABLES, child_environment
from tensordeck.store.resources import CustomJob

__all__ = ["JobEnvironment"]

_API_HOST: Final = "aiplatform.googleapis.com"
"""What `AIP_TENSORBOARD_API_URI` holds: clients put the region before it."""


@dataclass(frozen=True, slots=True)
class JobEnvironment:
    """What the replicas of one attempt get to see.

    Attributes:
        job: The job.
        folder: The attempt's folder.
        cluster: The replicas' addresses.
        endpoint: Our server, with the job's own credentials.
        outputs: The folders that the job writes to, by the variables that name them.
    """

    job: CustomJob
    folder: JobFolder
    cluster: Cluster
    endpoint: Endpoint
    outputs: Mapping[str, Path]

    def variables(self, pool: int, index: int, own: Mapping[str, str]) -> dict[str, str]:
        """All variables of one replica; none come from the server's own environment.

        Args:
            pool: Its worker pool.
            index: Its index in the pool.
            own: The variables that the spec gives it; they win.
        """
        return {
            "HOME": str(self.folder.home(f"workerpool{pool}-{index}")),
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",  # a log is read while it is written
            **self._redirect(),
            **self._vertex(),
            # The service's folders end in a slash, and programs join names to them without one.
            **{variable: f"{path}/" for variable, path in self.outputs.items()},
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


def _experiment(spec: dict[str, Any]) -> dict[str, str]:
    """Experiment and run by their short names, which scripts pass on to the client."""
    experiment = str(spec.get("experiment", "")).rpartition("/")[2]
    run = str(spec.get("experimentRun", "")).rpartition("/")[2]
    variables = {"AIP_EXPERIMENT_NAME": experiment} if experiment else {}
    if run:
        variables["AIP_EXPERIMENT_RUN_NAME"] = run.removeprefix(f"{experiment}-")
    return variables
