"""What the catalog keeps: one frozen record a resource kind.

Times are integer microseconds since the epoch, UTC. `pk` is the store's own key: it is never
reused, not even after a deletion, so that a late write can't land in another resource. A record
is never changed after it was returned; `msgspec.structs.replace` makes the next one.
"""

from enum import IntEnum
from typing import Any, ClassVar, TypeAlias

from msgspec import Struct, field

Json: TypeAlias = dict[str, Any]


class ValueType(IntEnum):
    """What a time series' points are; numbers as in TensorboardTimeSeries.ValueType."""

    SCALAR = 1
    TENSOR = 2
    BLOB_SEQUENCE = 3


class JobState(IntEnum):
    """Where a training job is; numbers as in the API's JobState and PipelineState."""

    QUEUED = 1
    """Nobody has taken it up."""
    PENDING = 2
    """What it needs is being made ready."""
    RUNNING = 3
    SUCCEEDED = 4
    FAILED = 5
    CANCELLING = 6
    CANCELLED = 7
    PAUSED = 8

    @property
    def ended(self) -> bool:
        """Whether it stays so for ever."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class Resource(Struct, frozen=True, kw_only=True):
    """What every kind has.

    Attributes:
        name: The full resource name; unique in its kind.
        pk: The store's key; 0 before the resource is created.
        revision: Counts the changes; the API's etag is made of it.
        create_time: Microseconds since the epoch; 0 lets the store fill it.
        update_time: The same, of the last change.
    """

    kind: ClassVar[str]
    parent_kind: ClassVar[str] = ""

    name: str
    pk: int = 0
    revision: int = 1
    create_time: int = 0
    update_time: int = 0


class Tensorboard(Resource, frozen=True, kw_only=True):
    """An instance. At most one per project and region is the default; the store sees to it."""

    kind: ClassVar[str] = "tensorboards"

    display_name: str = ""
    description: str = ""
    labels: Json = field(default_factory=dict)
    is_default: bool = False
    kms_key_name: str = ""
    run_count: int = 0  # read only: counted by the store


class Experiment(Resource, frozen=True, kw_only=True):
    """An experiment of an instance."""

    kind: ClassVar[str] = "experiments"
    parent_kind: ClassVar[str] = "tensorboards"

    display_name: str = ""
    description: str = ""
    labels: Json = field(default_factory=dict)
    source: str = ""


class Run(Resource, frozen=True, kw_only=True):
    """A run of an experiment. `display_name` is unique among the experiment's runs."""

    kind: ClassVar[str] = "runs"
    parent_kind: ClassVar[str] = "experiments"

    display_name: str = ""
    description: str = ""
    labels: Json = field(default_factory=dict)


class TimeSeries(Resource, frozen=True, kw_only=True):
    """A time series of a run; `display_name` is the tag and unique among the run's series."""

    kind: ClassVar[str] = "timeSeries"
    parent_kind: ClassVar[str] = "runs"

    display_name: str = ""
    description: str = ""
    value_type: ValueType = ValueType.SCALAR
    plugin_name: str = ""
    plugin_data: bytes = b""
    run_pk: int = 0  # read only: the run's pk; the points' distribution key


class MetadataStore(Resource, frozen=True, kw_only=True):
    """A metadata store; its id is `default`."""

    kind: ClassVar[str] = "metadataStores"

    description: str = ""


class MetadataSchema(Resource, frozen=True, kw_only=True):
    """A registered metadata schema."""

    kind: ClassVar[str] = "metadataSchemas"
    parent_kind: ClassVar[str] = "metadataStores"

    schema: str = ""
    schema_version: str = ""
    schema_type: int = 0
    description: str = ""


class MetadataNode(Resource, frozen=True, kw_only=True):
    """What contexts, artifacts and executions share."""

    display_name: str = ""
    description: str = ""
    labels: Json = field(default_factory=dict)
    schema_title: str = ""
    schema_version: str = ""
    metadata: Json = field(default_factory=dict)


class Context(MetadataNode, frozen=True, kw_only=True):
    """A metadata context: an experiment or an experiment run.

    `parent_contexts` (full names) is read only here; `Links` changes it.
    """

    kind: ClassVar[str] = "contexts"
    parent_kind: ClassVar[str] = "metadataStores"

    parent_contexts: tuple[str, ...] = ()


class Artifact(MetadataNode, frozen=True, kw_only=True):
    """A metadata artifact."""

    kind: ClassVar[str] = "artifacts"
    parent_kind: ClassVar[str] = "metadataStores"

    uri: str = ""
    state: int = 0


class Execution(MetadataNode, frozen=True, kw_only=True):
    """A metadata execution."""

    kind: ClassVar[str] = "executions"
    parent_kind: ClassVar[str] = "metadataStores"

    state: int = 0


class Operation(Resource, frozen=True, kw_only=True):
    """A long-running operation, kept as the finished `google.longrunning.Operation` bytes."""

    kind: ClassVar[str] = "operations"

    payload: bytes = b""


class Credential(Resource, frozen=True, kw_only=True):
    """A credential: `name` is its id.

    Attributes:
        credential_kind: `owner` (refresh token), `service_account_key`, or `server` (our own
            signing secret, shared by all servers on one store).
        principal: The e-mail address it speaks for.
        secret_hash: SHA-256 of a secret that we only compare; empty where there is none.
        public_key: PEM of a key that we verify with; empty where there is none.
        secret: Only for `server`: the signing secret itself.
        revoked: Whether it still counts.
    """

    kind: ClassVar[str] = "credentials"

    credential_kind: str
    principal: str = ""
    secret_hash: str = ""
    public_key: str = ""
    secret: bytes = b""
    revoked: bool = False


class Bucket(Resource, frozen=True, kw_only=True):
    """A Cloud Storage bucket: `name` is the bucket's own (`my-bucket`, no path)."""

    kind: ClassVar[str] = "buckets"

    project: str = ""
    location: str = "US"
    storage_class: str = "STANDARD"
    labels: Json = field(default_factory=dict)
    extra: Json = field(default_factory=dict)  # further bucket fields, echoed as they came
    iam_policy: Json = field(default_factory=dict)


class StoredObject(Resource, frozen=True, kw_only=True):
    """A Cloud Storage object: `name` is `bucket/object`, the object's own name after the first `/`.

    Attributes:
        generation: Changes with the content, `revision` (metageneration) with the metadata.
        size: Bytes.
        md5: 16 bytes; empty for a composed object.
        crc32c: The checksum's value.
        content_type: MIME type.
        blob_key: Where the bytes lie in the blob store.
        metadata: The caller's own key-value pairs.
        extra: contentEncoding, cacheControl and so on, echoed as they came.
    """

    kind: ClassVar[str] = "objects"
    parent_kind: ClassVar[str] = "buckets"

    generation: int
    size: int
    md5: bytes = b""
    crc32c: int = 0
    content_type: str = ""
    blob_key: str = ""
    metadata: Json = field(default_factory=dict)
    extra: Json = field(default_factory=dict)


class UploadSession(Resource, frozen=True, kw_only=True):
    """A resumable upload under way: `name` is its id.

    Attributes:
        object_name: `bucket/object` that it will become.
        received: Bytes that are safe so far.
        parts: Blob keys of the chunks, in order.
        request: The object's metadata and preconditions as the first request gave them.
    """

    kind: ClassVar[str] = "uploads"

    object_name: str
    received: int = 0
    parts: tuple[str, ...] = ()
    request: Json = field(default_factory=dict)


class CustomJob(Resource, frozen=True, kw_only=True):
    """A custom job.

    What runs it keeps its own notes in the same row, so that one write changes both: `attempt`,
    `executor`, `handle` and the lease.

    Attributes:
        display_name: For people.
        labels: Texts by key.
        job_spec: The CustomJobSpec as proto3 JSON.
        kms_key_name: Echoed.
        state: Where it is.
        start_time: Microseconds since the epoch of its first RUNNING; 0 before that.
        end_time: The same of its end.
        error: `{"code", "message"}` of a `google.rpc.Status`; empty if all is well.
        principal: The e-mail address of who made it.
        pipeline: The full name of the training pipeline that it belongs to; empty for none.
        attempt: How many times it was started.
        executor: What runs it.
        handle: By what the executor finds it again.
        lease_owner: Which server looks after it; empty for none.
        lease_until: Microseconds since the epoch from which on another server may.
        cancel_requested: Whether somebody wants it to end.
    """

    kind: ClassVar[str] = "customJobs"

    display_name: str = ""
    labels: Json = field(default_factory=dict)
    job_spec: Json = field(default_factory=dict)
    kms_key_name: str = ""
    state: JobState = JobState.QUEUED
    start_time: int = 0
    end_time: int = 0
    error: Json = field(default_factory=dict)
    principal: str = ""
    pipeline: str = ""
    attempt: int = 0
    executor: str = ""
    handle: Json = field(default_factory=dict)
    lease_owner: str = ""
    lease_until: int = 0
    cancel_requested: bool = False


class TrainingPipeline(Resource, frozen=True, kw_only=True):
    """A training pipeline: a custom job, and a model made of what it leaves.

    Attributes:
        display_name: For people.
        labels: Texts by key.
        definition: `training_task_definition`, as it was given.
        inputs: `training_task_inputs`, as they were given.
        metadata: `training_task_metadata`.
        input_data_config: Proto3 JSON; echoed.
        model_to_upload: The Model as proto3 JSON; empty for none.
        model_id: The id that the model is to get; empty for any.
        parent_model: The full name of the model that it is to be a version of; empty for none.
        kms_key_name: Echoed.
        state: Where it is.
        start_time: As in CustomJob.
        end_time: As in CustomJob.
        error: As in CustomJob.
        custom_job: The full name of its custom job.
    """

    kind: ClassVar[str] = "trainingPipelines"

    display_name: str = ""
    labels: Json = field(default_factory=dict)
    definition: str = ""
    inputs: Json = field(default_factory=dict)
    metadata: Json = field(default_factory=dict)
    input_data_config: Json = field(default_factory=dict)
    model_to_upload: Json = field(default_factory=dict)
    model_id: str = ""
    parent_model: str = ""
    kms_key_name: str = ""
    state: JobState = JobState.QUEUED
    start_time: int = 0
    end_time: int = 0
    error: Json = field(default_factory=dict)
    custom_job: str = ""


class Model(Resource, frozen=True, kw_only=True):
    """A registered model: what its versions share.

    Attributes:
        display_name: For people.
        description: The same.
        labels: Texts by key.
        aliases: The version that each alias stands for, `{"default": "1"}`.
        last_version: The largest version number ever given out.
    """

    kind: ClassVar[str] = "models"

    display_name: str = ""
    description: str = ""
    labels: Json = field(default_factory=dict)
    aliases: Json = field(default_factory=dict)
    last_version: int = 0


class ModelVersion(Resource, frozen=True, kw_only=True):
    """A version of a model: `{model}/versions/1`; the API calls it `{model}@1`.

    Attributes:
        description: For people.
        labels: Texts by key, besides the model's.
        artifact_uri: Where its files lie.
        spec: The rest of the Model message that belongs to the version, as proto3 JSON.
        training_pipeline: The full name of what made it; empty for an upload.
    """

    kind: ClassVar[str] = "versions"
    parent_kind: ClassVar[str] = "models"

    description: str = ""
    labels: Json = field(default_factory=dict)
    artifact_uri: str = ""
    spec: Json = field(default_factory=dict)
    training_pipeline: str = ""
