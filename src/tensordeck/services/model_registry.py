"""Models and their versions: adding, finding, aliases, and both as one message.

A model is one row, what its versions share; each version is another. Which version an alias
stands for is kept with the model, so that an alias moves from one version to another in one write.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from typing import Any, Final

from msgspec.structs import replace

from tensordeck import names, protos
from tensordeck.errors import AlreadyExists, InvalidArgument, NotFound
from tensordeck.names import ResourceName, shown
from tensordeck.services import rules
from tensordeck.services.times import set_micros
from tensordeck.store.contract import Catalog
from tensordeck.store.resources import Json, Model, ModelVersion

__all__ = [
    "DEFAULT",
    "add_model",
    "add_version",
    "change_aliases",
    "check_model_id",
    "find_version",
    "model_message",
    "split_version",
    "version_name",
]

DEFAULT: Final = "default"
"""The alias that every model has exactly once."""

_VERSION_FIELDS: Final = (
    "base_model_source",
    "container_spec",
    "data_stats",
    "default_checkpoint_id",
    "encryption_spec",
    "explanation_spec",
    "metadata",
    "metadata_schema_uri",
    "pipeline_job",
    "predict_schemata",
)
"""What a caller may give of a version, besides what has a column of its own."""
_MODEL_ID: Final = re.compile(r"[a-z_][a-z0-9_-]{0,62}")
_ALIAS: Final = re.compile(r"[a-z][a-zA-Z0-9-]{0,126}[a-z0-9]")


def add_model(catalog: Catalog, name: str, given: Any, training_pipeline: str = "") -> ModelVersion:
    """Registers a model with its first version.

    Args:
        catalog: Where models rest.
        name: The model's full name.
        given: The Model message.
        training_pipeline: The full name of what made it.

    Raises:
        InvalidArgument: If a field breaks a rule.
        AlreadyExists: If the name is taken.
    """
    _check(given)
    rules.check_display_name(given.display_name, "model.display_name")
    model = Model(
        name=name,
        display_name=given.display_name,
        description=given.description,
        labels=dict(given.labels),
        aliases=dict.fromkeys([DEFAULT, *given.version_aliases], "1"),
        last_version=1,
    )
    version = replace(_version(name, "1", given, training_pipeline), labels={})
    try:
        catalog.create_many([model, version])
    except AlreadyExists as error:
        raise AlreadyExists(
            f"Model {name} already exists. Give its name as `parent_model` to add a version to "
            "it, or choose another `model_id`."
        ) from error
    return version


def add_version(
    catalog: Catalog, model: str, given: Any, training_pipeline: str = ""
) -> ModelVersion:
    """Registers a further version of a model; its aliases are taken from older versions.

    Called again for the same training pipeline, it finds the version that it added before.

    Args:
        catalog: Where models rest.
        model: The model's full name.
        given: The Model message.
        training_pipeline: The full name of what made it.

    Raises:
        InvalidArgument: If a field breaks a rule.
        NotFound: If there is no such model.
    """
    _check(given)
    version = _made_by(catalog, model, training_pipeline) if training_pipeline else None
    if version is None:
        # A number that is given out and then not used is no harm: it is never given out again.
        number = catalog.update(
            Model, model, lambda record: replace(record, last_version=record.last_version + 1)
        ).last_version
        version = catalog.create(_version(model, str(number), given, training_pipeline))
    if given.version_aliases:
        number_text = version.name.rpartition("/")[2]
        change_aliases(catalog, model, number_text, given.version_aliases, ())
    return version


def change_aliases(
    catalog: Catalog, model: str, version_id: str, added: Iterable[str], removed: Iterable[str]
) -> Model:
    """Gives a version aliases, which other versions lose, and takes others away.

    Raises:
        InvalidArgument: If an alias has a wrong form, or the model's default would be gone.
    """
    gained, lost = set(added), set(removed)
    for alias in gained | lost:
        check_alias(alias)
    if DEFAULT in lost - gained:
        raise InvalidArgument(
            "`version_aliases`: a model always has a default version. "
            "Give `default` to another version instead of taking it away."
        )

    def change(record: Model) -> Model:
        kept = {
            alias: version
            for alias, version in record.aliases.items()
            if not (alias in lost - gained and version == version_id)
        }
        return replace(record, aliases={**kept, **dict.fromkeys(gained - lost, version_id)})

    return catalog.update(Model, model, change)


def find_version(catalog: Catalog, text: str, field: str = "name") -> tuple[Model, ModelVersion]:
    """Finds `{model}`, `{model}@{version}` or `{model}@{alias}`.

    Raises:
        InvalidArgument: If the name has another form.
        NotFound: If there is no such model, or no such version of it.
    """
    name, wanted = split_version(text, field)
    model = catalog.get(Model, str(name))
    version_id = model.aliases.get(wanted or DEFAULT, wanted)
    version = catalog.find(ModelVersion, version_name(model.name, version_id))
    if version is None:
        raise NotFound(
            f"Model {model.name} has no version or alias {shown(wanted or DEFAULT)}. "
            f"Its aliases are: {', '.join(sorted(model.aliases))}."
        )
    return model, version


def split_version(text: str, field: str = "name") -> tuple[ResourceName, str]:
    """Splits `{model}@{version}`; the version is empty when the name has none.

    Raises:
        InvalidArgument: If it is no model's name.
    """
    head, _, wanted = text.partition("@")
    if "/" in wanted:
        head, wanted = text, ""
    return names.parse(head, names.MODEL, field), wanted


def version_name(model: str, version_id: str) -> str:
    """The name of a version's row."""
    return f"{model}/versions/{version_id}"


def check_model_id(model_id: str) -> None:
    """Checks an id that a caller chose.

    Raises:
        InvalidArgument: If it has a wrong form.
    """
    if not _MODEL_ID.fullmatch(model_id):
        raise InvalidArgument(
            "`model_id` must be at most 63 lower-case letters, digits, `_` and `-`, and not begin "
            f"with a digit or `-`; it is {shown(model_id)}."
        )


def check_alias(alias: str) -> None:
    """Checks a version's alias.

    Raises:
        InvalidArgument: If it has a wrong form; a number would read as a version.
    """
    if not _ALIAS.fullmatch(alias):
        raise InvalidArgument(
            "`version_aliases`: an alias has 2 to 128 letters, digits and `-`, begins with a "
            f"lower-case letter and ends with one or a digit; this one is {shown(alias)}."
        )


def model_message(model: Model, version: ModelVersion) -> Any:
    """A version of a model as the API shows it: one message, the labels of both merged."""
    version_id = version.name.rpartition("/")[2]
    message = protos.from_json(version.spec, protos.message("Model")())
    message.name = model.name
    message.version_id = version_id
    message.version_aliases.extend(
        sorted(alias for alias, held in model.aliases.items() if held == version_id)
    )
    message.display_name = model.display_name
    message.description = model.description
    message.version_description = version.description
    message.artifact_uri = version.artifact_uri
    message.training_pipeline = version.training_pipeline
    message.labels.update({**model.labels, **version.labels})
    message.etag = _etag(model, version)
    set_micros(message.create_time, model.create_time)
    set_micros(message.update_time, model.update_time)
    set_micros(message.version_create_time, version.create_time)
    set_micros(message.version_update_time, version.update_time)
    return message


def _etag(model: Model, version: ModelVersion) -> str:
    """Changes with what an update may change, and with nothing else.

    The client sends the etag of the model that it has read with every update, and does not read
    the model again after it has added a version or moved an alias.
    """
    fields = [
        *(model.pk, model.display_name, model.description, model.labels),
        *(version.pk, version.description, version.labels),
    ]
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]


def _check(given: Any) -> None:
    rules.check_labels(given.labels, "model.labels", {})
    for alias in given.version_aliases:
        check_alias(alias)


def _version(model: str, version_id: str, given: Any, training_pipeline: str) -> ModelVersion:
    return ModelVersion(
        name=version_name(model, version_id),
        description=given.version_description,
        labels=dict(given.labels),
        artifact_uri=given.artifact_uri,
        spec=_spec(given),
        training_pipeline=training_pipeline,
    )


def _spec(given: Any) -> Json:
    kept = protos.message("Model")()
    kept.CopyFrom(given)
    for field, _ in given.ListFields():
        if field.name not in _VERSION_FIELDS:
            kept.ClearField(field.name)
    return protos.to_json(kept)


def _made_by(catalog: Catalog, model: str, training_pipeline: str) -> ModelVersion | None:
    """The newest version, if this pipeline made it: nothing else adds one in between its tries."""
    newest = catalog.list(ModelVersion, model, order_by="create_time desc", page_size=50)
    return next(
        (v for v in newest.items if v.training_pipeline == training_pipeline),
        None,
    )
