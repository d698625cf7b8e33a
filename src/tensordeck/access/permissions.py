"""The permissions there are: IAM's own names, so that roles written for the managed service fit.

https://cloud.google.com/iam/docs/permissions-reference
"""

from typing import Final

_CRUD: Final = ("create", "delete", "get", "list", "update")
_IAM: Final = ("getIamPolicy", "setIamPolicy")
_JOB: Final = ("cancel", "create", "delete", "get", "list")

_VERBS: Final[dict[str, tuple[str, ...]]] = {
    "aiplatform.tensorboards": (*_CRUD, *_IAM, "recordAccess"),
    "aiplatform.tensorboardExperiments": (*_CRUD, "write"),
    "aiplatform.tensorboardRuns": (*_CRUD, "batchCreate", "write"),
    "aiplatform.tensorboardTimeSeries": (*_CRUD, "batchCreate", "batchRead", "read"),
    "aiplatform.metadataStores": _CRUD,
    "aiplatform.metadataSchemas": _CRUD,
    "aiplatform.artifacts": (*_CRUD, "queryArtifactLineageSubgraph"),
    "aiplatform.contexts": (
        *_CRUD,
        "addContextArtifactsAndExecutions",
        "addContextChildren",
        "queryContextLineageSubgraph",
    ),
    "aiplatform.executions": (*_CRUD, "addExecutionEvents", "queryExecutionInputsAndOutputs"),
    "aiplatform.customJobs": _JOB,
    "aiplatform.hyperparameterTuningJobs": _JOB,
    "aiplatform.trainingPipelines": _JOB,
    "aiplatform.pipelineJobs": _JOB,
    "aiplatform.models": (*_CRUD, "export", "upload"),
    "aiplatform.locations": ("get", "list"),
    "aiplatform.operations": ("cancel", "delete", "get", "list"),
    "logging.logEntries": ("list",),
    "monitoring.timeSeries": ("list",),
    "resourcemanager.projects": ("get", "list"),
    "storage.buckets": (*_CRUD, *_IAM),
    "storage.objects": (*_CRUD, *_IAM),
}

PERMISSIONS: Final = frozenset(f"{noun}.{verb}" for noun, verbs in _VERBS.items() for verb in verbs)
"""Every permission that `Access.check` may be asked for."""
