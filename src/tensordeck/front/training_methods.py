"""The methods of training: custom jobs, pipelines, and the models made of them.

Routes: the public REST reference of Vertex AI v1 (`projects.locations.customJobs` and siblings).
"""

from typing import Final

from tensordeck.front.method import Method, row

__all__ = ["JOB_METHODS", "MODEL_METHODS", "PIPELINE_METHODS", "TRAINING_METHODS"]

_PL: Final = "projects/*/locations/*"
_MODEL: Final = f"{_PL}/models/*"


def _runnable(service: str, singular: str, collection: str, field: str) -> tuple[Method, ...]:
    """The calls that custom jobs and pipelines have in common: all that there are."""
    one = f"{_PL}/{collection}/*"
    permission = f"aiplatform.{collection}"
    return (
        row(
            service,
            f"Create{singular}",
            f"POST /{{v}}/{{parent={_PL}}}/{collection}",
            f"{permission}.create",
            body=field,
        ),
        row(service, f"Get{singular}", f"GET /{{v}}/{{name={one}}}", f"{permission}.get"),
        row(
            service,
            f"List{singular}s",
            f"GET /{{v}}/{{parent={_PL}}}/{collection}",
            f"{permission}.list",
        ),
        row(
            service,
            f"Delete{singular}",
            f"DELETE /{{v}}/{{name={one}}}",
            f"{permission}.delete",
            long_running="DeleteOperationMetadata",
        ),
        row(
            service,
            f"Cancel{singular}",
            f"POST /{{v}}/{{name={one}}}:cancel",
            f"{permission}.cancel",
            body="*",
        ),
    )


def _model(name: str, http: str, permission: str, **more: str) -> Method:
    return row("ModelService", name, http, f"aiplatform.models.{permission}", **more)  # type: ignore[arg-type]  # rows pass only texts


JOB_METHODS: Final = _runnable("JobService", "CustomJob", "customJobs", "custom_job")
PIPELINE_METHODS: Final = (
    *_runnable("PipelineService", "TrainingPipeline", "trainingPipelines", "training_pipeline"),
    *_runnable("PipelineService", "PipelineJob", "pipelineJobs", "pipeline_job"),
)
MODEL_METHODS: Final = (
    _model(
        "UploadModel",
        f"POST /{{v}}/{{parent={_PL}}}/models:upload",
        "upload",
        body="*",
        long_running="UploadModelOperationMetadata",
    ),
    _model("GetModel", f"GET /{{v}}/{{name={_MODEL}}}", "get"),
    _model("ListModels", f"GET /{{v}}/{{parent={_PL}}}/models", "list"),
    _model("ListModelVersions", f"GET /{{v}}/{{name={_MODEL}}}:listVersions", "list"),
    _model("UpdateModel", f"PATCH /{{v}}/{{model.name={_MODEL}}}", "update", body="model"),
    _model(
        "DeleteModel",
        f"DELETE /{{v}}/{{name={_MODEL}}}",
        "delete",
        long_running="DeleteOperationMetadata",
    ),
    _model(
        "DeleteModelVersion",
        f"DELETE /{{v}}/{{name={_MODEL}}}:deleteVersion",
        "delete",
        long_running="DeleteOperationMetadata",
    ),
    _model(
        "MergeVersionAliases",
        f"POST /{{v}}/{{name={_MODEL}}}:mergeVersionAliases",
        "update",
        body="*",
    ),
)
TRAINING_METHODS: Final = (*JOB_METHODS, *PIPELINE_METHODS, *MODEL_METHODS)
