"""The API's methods, declared once: gRPC path, HTTP rule, messages, permission, duration.

Both transports and both API versions are made from this table. To add an RPC, add a row here and
a method of that name (snake_case) to its service. Routes: the public REST reference of Vertex AI
v1 (`projects.locations.tensorboards` and siblings) and `google.api.http` (AIP-127).
"""

from typing import Final

from tensordeck.front.method import VERSIONS, HttpRule, Method, row
from tensordeck.front.training_methods import TRAINING_METHODS

OPERATIONS: Final = "google.longrunning.Operations"
LOGGING: Final = "google.logging.v2.LoggingServiceV2"
LOCATIONS: Final = "google.cloud.location.Locations"
IAM_POLICY: Final = "google.iam.v1.IAMPolicy"
PROJECTS: Final = "google.cloud.resourcemanager.v3.Projects"

_PL: Final = "projects/*/locations/*"
_TB: Final = f"{_PL}/tensorboards/*"
_EXP: Final = f"{_TB}/experiments/*"
_RUN: Final = f"{_EXP}/runs/*"
_TS: Final = f"{_RUN}/timeSeries/*"
_MS: Final = f"{_PL}/metadataStores/*"


def _tensorboard(name: str, http: str, permission: str, **more: object) -> Method:
    return row("TensorboardService", name, http, f"aiplatform.{permission}", **more)  # type: ignore[arg-type]  # rows pass only keywords of row


def _metadata(name: str, http: str, permission: str, **more: object) -> Method:
    return row("MetadataService", name, http, f"aiplatform.{permission}", **more)  # type: ignore[arg-type]  # as above


TENSORBOARD_METHODS: Final = (
    _tensorboard(
        "CreateTensorboard",
        f"POST /{{v}}/{{parent={_PL}}}/tensorboards",
        "tensorboards.create",
        body="tensorboard",
        long_running="CreateTensorboardOperationMetadata",
    ),
    _tensorboard("GetTensorboard", f"GET /{{v}}/{{name={_TB}}}", "tensorboards.get"),
    _tensorboard(
        "UpdateTensorboard",
        f"PATCH /{{v}}/{{tensorboard.name={_TB}}}",
        "tensorboards.update",
        body="tensorboard",
        long_running="UpdateTensorboardOperationMetadata",
    ),
    _tensorboard(
        "ListTensorboards", f"GET /{{v}}/{{parent={_PL}}}/tensorboards", "tensorboards.list"
    ),
    _tensorboard(
        "DeleteTensorboard",
        f"DELETE /{{v}}/{{name={_TB}}}",
        "tensorboards.delete",
        long_running="DeleteOperationMetadata",
    ),
    _tensorboard(
        "ReadTensorboardUsage",
        f"GET /{{v}}/{{tensorboard={_TB}}}:readUsage",
        "tensorboards.get",
    ),
    _tensorboard(
        "ReadTensorboardSize", f"GET /{{v}}/{{tensorboard={_TB}}}:readSize", "tensorboards.get"
    ),
    _tensorboard(
        "CreateTensorboardExperiment",
        f"POST /{{v}}/{{parent={_TB}}}/experiments",
        "tensorboardExperiments.create",
        body="tensorboard_experiment",
    ),
    _tensorboard(
        "GetTensorboardExperiment", f"GET /{{v}}/{{name={_EXP}}}", "tensorboardExperiments.get"
    ),
    _tensorboard(
        "UpdateTensorboardExperiment",
        f"PATCH /{{v}}/{{tensorboard_experiment.name={_EXP}}}",
        "tensorboardExperiments.update",
        body="tensorboard_experiment",
    ),
    _tensorboard(
        "ListTensorboardExperiments",
        f"GET /{{v}}/{{parent={_TB}}}/experiments",
        "tensorboardExperiments.list",
    ),
    _tensorboard(
        "DeleteTensorboardExperiment",
        f"DELETE /{{v}}/{{name={_EXP}}}",
        "tensorboardExperiments.delete",
        long_running="DeleteOperationMetadata",
    ),
    _tensorboard(
        "CreateTensorboardRun",
        f"POST /{{v}}/{{parent={_EXP}}}/runs",
        "tensorboardRuns.create",
        body="tensorboard_run",
    ),
    _tensorboard(
        "BatchCreateTensorboardRuns",
        f"POST /{{v}}/{{parent={_EXP}}}/runs:batchCreate",
        "tensorboardRuns.batchCreate",
        body="*",
    ),
    _tensorboard("GetTensorboardRun", f"GET /{{v}}/{{name={_RUN}}}", "tensorboardRuns.get"),
    _tensorboard(
        "UpdateTensorboardRun",
        f"PATCH /{{v}}/{{tensorboard_run.name={_RUN}}}",
        "tensorboardRuns.update",
        body="tensorboard_run",
    ),
    _tensorboard(
        "ListTensorboardRuns", f"GET /{{v}}/{{parent={_EXP}}}/runs", "tensorboardRuns.list"
    ),
    _tensorboard(
        "DeleteTensorboardRun",
        f"DELETE /{{v}}/{{name={_RUN}}}",
        "tensorboardRuns.delete",
        long_running="DeleteOperationMetadata",
    ),
    _tensorboard(
        "BatchCreateTensorboardTimeSeries",
        f"POST /{{v}}/{{parent={_EXP}}}:batchCreate",
        "tensorboardTimeSeries.batchCreate",
        body="*",
    ),
    _tensorboard(
        "CreateTensorboardTimeSeries",
        f"POST /{{v}}/{{parent={_RUN}}}/timeSeries",
        "tensorboardTimeSeries.create",
        body="tensorboard_time_series",
    ),
    _tensorboard(
        "GetTensorboardTimeSeries", f"GET /{{v}}/{{name={_TS}}}", "tensorboardTimeSeries.get"
    ),
    _tensorboard(
        "UpdateTensorboardTimeSeries",
        f"PATCH /{{v}}/{{tensorboard_time_series.name={_TS}}}",
        "tensorboardTimeSeries.update",
        body="tensorboard_time_series",
    ),
    _tensorboard(
        "ListTensorboardTimeSeries",
        f"GET /{{v}}/{{parent={_RUN}}}/timeSeries",
        "tensorboardTimeSeries.list",
    ),
    _tensorboard(
        "DeleteTensorboardTimeSeries",
        f"DELETE /{{v}}/{{name={_TS}}}",
        "tensorboardTimeSeries.delete",
        long_running="DeleteOperationMetadata",
    ),
    _tensorboard(
        "BatchReadTensorboardTimeSeriesData",
        f"GET /{{v}}/{{tensorboard={_TB}}}:batchRead",
        "tensorboardTimeSeries.batchRead",
    ),
    _tensorboard(
        "ReadTensorboardTimeSeriesData",
        f"GET /{{v}}/{{tensorboard_time_series={_TS}}}:read",
        "tensorboardTimeSeries.read",
    ),
    _tensorboard(
        "ReadTensorboardBlobData",
        f"GET /{{v}}/{{time_series={_TS}}}:readBlobData",
        "tensorboardTimeSeries.read",
        streaming=True,
    ),
    _tensorboard(
        "WriteTensorboardExperimentData",
        f"POST /{{v}}/{{tensorboard_experiment={_EXP}}}:write",
        "tensorboardExperiments.write",
        body="*",
        raw=True,
    ),
    _tensorboard(
        "WriteTensorboardRunData",
        f"POST /{{v}}/{{tensorboard_run={_RUN}}}:write",
        "tensorboardRuns.write",
        body="*",
        raw=True,
    ),
    _tensorboard(
        "ExportTensorboardTimeSeriesData",
        f"POST /{{v}}/{{tensorboard_time_series={_TS}}}:exportTensorboardTimeSeries",
        "tensorboardTimeSeries.read",
        body="*",
    ),
)


def _metadata_kind(singular: str, collection: str) -> tuple[Method, ...]:
    """The calls that contexts, artifacts and executions have in common."""
    field = singular.lower()
    one = f"{_MS}/{collection}/*"
    return (
        _metadata(
            f"Create{singular}",
            f"POST /{{v}}/{{parent={_MS}}}/{collection}",
            f"{collection}.create",
            body=field,
        ),
        _metadata(f"Get{singular}", f"GET /{{v}}/{{name={one}}}", f"{collection}.get"),
        _metadata(
            f"List{singular}s", f"GET /{{v}}/{{parent={_MS}}}/{collection}", f"{collection}.list"
        ),
        _metadata(
            f"Update{singular}",
            f"PATCH /{{v}}/{{{field}.name={one}}}",
            f"{collection}.update",
            body=field,
        ),
        _metadata(
            f"Delete{singular}",
            f"DELETE /{{v}}/{{name={one}}}",
            f"{collection}.delete",
            long_running="DeleteOperationMetadata",
        ),
        _metadata(
            f"Purge{singular}s",
            f"POST /{{v}}/{{parent={_MS}}}/{collection}:purge",
            f"{collection}.delete",
            body="*",
            long_running=f"Purge{singular}sMetadata",
        ),
    )


METADATA_METHODS: Final = (
    _metadata(
        "CreateMetadataStore",
        f"POST /{{v}}/{{parent={_PL}}}/metadataStores",
        "metadataStores.create",
        body="metadata_store",
        long_running="CreateMetadataStoreOperationMetadata",
    ),
    _metadata("GetMetadataStore", f"GET /{{v}}/{{name={_MS}}}", "metadataStores.get"),
    _metadata(
        "ListMetadataStores", f"GET /{{v}}/{{parent={_PL}}}/metadataStores", "metadataStores.list"
    ),
    _metadata(
        "DeleteMetadataStore",
        f"DELETE /{{v}}/{{name={_MS}}}",
        "metadataStores.delete",
        long_running="DeleteMetadataStoreOperationMetadata",
    ),
    *_metadata_kind("Artifact", "artifacts"),
    *_metadata_kind("Context", "contexts"),
    *_metadata_kind("Execution", "executions"),
    _metadata(
        "AddContextArtifactsAndExecutions",
        f"POST /{{v}}/{{context={_MS}/contexts/*}}:addContextArtifactsAndExecutions",
        "contexts.addContextArtifactsAndExecutions",
        body="*",
    ),
    _metadata(
        "AddContextChildren",
        f"POST /{{v}}/{{context={_MS}/contexts/*}}:addContextChildren",
        "contexts.addContextChildren",
        body="*",
    ),
    _metadata(
        "RemoveContextChildren",
        f"POST /{{v}}/{{context={_MS}/contexts/*}}:removeContextChildren",
        "contexts.addContextChildren",
        body="*",
    ),
    _metadata(
        "QueryContextLineageSubgraph",
        f"GET /{{v}}/{{context={_MS}/contexts/*}}:queryContextLineageSubgraph",
        "contexts.queryContextLineageSubgraph",
    ),
    _metadata(
        "AddExecutionEvents",
        f"POST /{{v}}/{{execution={_MS}/executions/*}}:addExecutionEvents",
        "executions.addExecutionEvents",
        body="*",
    ),
    _metadata(
        "QueryExecutionInputsAndOutputs",
        f"GET /{{v}}/{{execution={_MS}/executions/*}}:queryExecutionInputsAndOutputs",
        "executions.queryExecutionInputsAndOutputs",
    ),
    _metadata(
        "CreateMetadataSchema",
        f"POST /{{v}}/{{parent={_MS}}}/metadataSchemas",
        "metadataSchemas.create",
        body="metadata_schema",
    ),
    _metadata(
        "GetMetadataSchema", f"GET /{{v}}/{{name={_MS}/metadataSchemas/*}}", "metadataSchemas.get"
    ),
    _metadata(
        "ListMetadataSchemas",
        f"GET /{{v}}/{{parent={_MS}}}/metadataSchemas",
        "metadataSchemas.list",
    ),
    _metadata(
        "QueryArtifactLineageSubgraph",
        f"GET /{{v}}/{{artifact={_MS}/artifacts/*}}:queryArtifactLineageSubgraph",
        "artifacts.queryArtifactLineageSubgraph",
    ),
)


def _operation(name: str, verb: str, suffix: str = "", body: str = "") -> Method:
    """The SDK polls `/ui/`, gcloud `/v1beta1/`, people `/v1/`."""
    tail = "}/operations" if name == "ListOperations" else "/operations/*}"
    rules = tuple(
        HttpRule(verb, f"/{prefix}/{{name={_PL}{below}{tail}{suffix}", body)
        for prefix in ("ui", *VERSIONS)
        for below in ("", "/**")
    )
    action = {"GetOperation": "get", "WaitOperation": "get", "ListOperations": "list"}.get(
        name, name.removesuffix("Operation").lower()
    )
    return Method(
        service=OPERATIONS,
        name=name,
        request=f"google.longrunning.{name}Request",
        permission=f"aiplatform.operations.{action}",
        resource="name",
        http=rules,
    )


MIXIN_METHODS: Final = (
    _operation("ListOperations", "GET"),
    _operation("CancelOperation", "POST", ":cancel"),
    _operation("WaitOperation", "POST", ":wait"),
    _operation("GetOperation", "GET"),
    _operation("DeleteOperation", "DELETE"),
    *(
        Method(
            service=LOCATIONS,
            name=name,
            request=f"google.cloud.location.{name}Request",
            permission=f"aiplatform.locations.{action}",
            resource="name",
            http=tuple(HttpRule("GET", f"/{p}/{template}") for p in ("ui", *VERSIONS)),
        )
        for name, action, template in (
            ("GetLocation", "get", f"{{name={_PL}}}"),
            ("ListLocations", "list", "{name=projects/*}/locations"),
        )
    ),
    *(
        Method(
            service=IAM_POLICY,
            name=name,
            request=f"google.iam.v1.{name}Request",
            permission=f"aiplatform.tensorboards.{permission}",
            resource="resource",
            http=tuple(
                HttpRule("POST", f"/{p}/{{resource={_TB}}}:{name[0].lower()}{name[1:]}", "*")
                for p in VERSIONS
            ),
        )
        for name, permission in (
            ("GetIamPolicy", "getIamPolicy"),
            ("SetIamPolicy", "setIamPolicy"),
            ("TestIamPermissions", "get"),
        )
    ),
    Method(
        service=PROJECTS,
        name="GetProject",
        request="google.cloud.resourcemanager.v3.GetProjectRequest",
        permission="resourcemanager.projects.get",
        resource="name",
        http=(HttpRule("GET", "/v3/{name=projects/*}"),),
    ),
    Method(
        service=LOGGING,
        name="ListLogEntries",
        request="google.logging.v2.ListLogEntriesRequest",
        permission="logging.logEntries.list",
        resource="resource_names",
        http=(HttpRule("POST", "/v2/entries:list", "*"),),
    ),
)

METHODS: Final[tuple[Method, ...]] = (
    *TENSORBOARD_METHODS,
    *METADATA_METHODS,
    *TRAINING_METHODS,
    *MIXIN_METHODS,
)
"""Every method. Order matters where two HTTP rules match one path: the first one wins."""
