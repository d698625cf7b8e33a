"""ModelService: the registry of models and their versions."""

from collections.abc import Callable
from typing import Any, Final

from msgspec.structs import replace

from tensordeck import names, protos
from tensordeck.errors import Aborted, FailedPrecondition, InvalidArgument
from tensordeck.filters import All, Any_, Comparison, Filter, Not, parse_filter
from tensordeck.names import shown
from tensordeck.services import masks, model_registry, paging, rules
from tensordeck.services.call import Call
from tensordeck.services.model_registry import (
    DEFAULT,
    find_version,
    model_message,
    split_version,
    version_name,
)
from tensordeck.store import Store
from tensordeck.store.resources import Model, ModelVersion

__all__ = ["ModelService"]

_OF_MODEL: Final = frozenset({"display_name", "description", "labels"})
_OF_VERSION: Final = frozenset({"version_description", "labels"})
_ANY_VERSION: Final = "-"


class ModelService:
    """Models.

    Args:
        store: Where they rest.
    """

    def __init__(self, store: Store) -> None:
        self._catalog = store.catalog

    def upload_model(self, request: Any, _call: Call) -> Any:
        """Registers a model, or a further version of one; its files stay where they are."""
        place = names.parse(request.parent, names.LOCATION, "parent")
        if request.model_id:
            model_registry.check_model_id(request.model_id)
        if request.parent_model:
            parent, _ = split_version(request.parent_model, "parent_model")
            version = model_registry.add_version(self._catalog, str(parent), request.model)
        else:
            name = place.child(Model.kind, request.model_id or rules.new_numeric_id())
            version = model_registry.add_model(self._catalog, str(name), request.model)
        model, _, version_id = version.name.partition("/versions/")
        return protos.message("UploadModelResponse")(model=model, model_version_id=version_id)

    def get_model(self, request: Any, _call: Call) -> Any:
        """Returns a version of a model: the default one unless `@version` or `@alias` is given."""
        return model_message(*find_version(self._catalog, request.name))

    def list_models(self, request: Any, _call: Call) -> Any:
        """Lists the models of a project and region, each with its default version."""
        masks.check_read_mask(request.read_mask, protos.message("Model").DESCRIPTOR)
        tree = parse_filter(request.filter)
        page = self._catalog.list(
            Model,
            str(names.parse(request.parent, names.LOCATION, "parent")),
            filter=None if tree is None else _by_name(tree),
            order_by=request.order_by or "create_time desc",
            page_size=paging.TRAINING.of(request.page_size),
            page_token=request.page_token,
        )
        defaults = {m.name: version_name(m.name, m.aliases[DEFAULT]) for m in page.items}
        versions = self._catalog.find_many(ModelVersion, list(defaults.values()))
        messages = [
            model_message(model, versions[defaults[model.name]])
            for model in page.items
            if defaults[model.name] in versions  # else it was deleted between the two reads
        ]
        masks.apply_read_mask(messages, request.read_mask)
        return protos.message("ListModelsResponse")(
            models=messages, next_page_token=page.next_token
        )

    def list_model_versions(self, request: Any, _call: Call) -> Any:
        """Lists the versions of a model, newest first."""
        masks.check_read_mask(request.read_mask, protos.message("Model").DESCRIPTOR)
        name, _ = split_version(request.name)
        model = self._catalog.get(Model, str(name))
        page = self._catalog.list(
            ModelVersion,
            model.name,
            filter=parse_filter(request.filter),
            order_by=request.order_by or "create_time desc",
            page_size=paging.TRAINING.of(request.page_size),
            page_token=request.page_token,
        )
        messages = [model_message(model, version) for version in page.items]
        masks.apply_read_mask(messages, request.read_mask)
        return protos.message("ListModelVersionsResponse")(
            models=messages, next_page_token=page.next_token
        )

    def merge_version_aliases(self, request: Any, _call: Call) -> Any:
        """Gives a version aliases, and takes away those that begin with `-`."""
        _, version = self._version(request.name)
        model_name, _, version_id = version.name.partition("/versions/")
        if not request.version_aliases:
            raise InvalidArgument("`version_aliases` is required and must not be empty.")
        removed = [alias[1:] for alias in request.version_aliases if alias.startswith("-")]
        added = [alias for alias in request.version_aliases if not alias.startswith("-")]
        model = model_registry.change_aliases(self._catalog, model_name, version_id, added, removed)
        return model_message(model, version)

    def update_model(self, request: Any, _call: Call) -> Any:
        """Changes a model (`models/1`), or one of its versions (`models/1@2`)."""
        given = request.model
        name, wanted = split_version(given.name, "model.name")
        model, version = find_version(
            self._catalog, str(name) if wanted == _ANY_VERSION else given.name, "model.name"
        )
        of_model = wanted in ("", _ANY_VERSION)
        _check_mask(request, of_model=of_model)
        if of_model:
            model = self._catalog.update(Model, model.name, self._model_change(request, version))
        else:
            version = self._catalog.update(
                ModelVersion, version.name, self._version_change(request, model)
            )
        return model_message(model, version)

    def delete_model(self, request: Any, _call: Call) -> Any:
        """Deletes a model with all its versions; their files stay."""
        self._catalog.delete(Model, str(names.parse(request.name, names.MODEL)))
        return protos.message("google.protobuf.Empty")()

    def delete_model_version(self, request: Any, _call: Call) -> Any:
        """Deletes a version of a model.

        Raises:
            FailedPrecondition: If it is the default one.
        """
        model, version = self._version(request.name)
        version_id = version.name.rpartition("/")[2]
        if model.aliases[DEFAULT] == version_id:
            raise FailedPrecondition(
                f"{model.name}@{version_id} is the model's default version and can't be deleted. "
                "Make another version the default one first, or delete the whole model."
            )
        held = [alias for alias, holder in model.aliases.items() if holder == version_id]
        if held:
            model_registry.change_aliases(self._catalog, model.name, version_id, (), held)
        self._catalog.delete(ModelVersion, version.name)
        return protos.message("google.protobuf.Empty")()

    def _version(self, text: str) -> tuple[Model, ModelVersion]:
        """Finds a version whose name must say which."""
        if not split_version(text)[1]:
            raise InvalidArgument(
                f"`name` must say which version: {shown(text)} lacks an @VERSION at its end."
            )
        return find_version(self._catalog, text)

    def _model_change(self, request: Any, version: ModelVersion) -> Callable[[Model], Model]:
        def change(model: Model) -> Model:
            message = model_message(model, version)
            _check_etag(message, request.model)
            _set_labels(message, model.labels)
            masks.merge(message, request.model, request.update_mask, masks.Writable(_OF_MODEL))
            rules.check_display_name(message.display_name, "model.display_name")
            rules.check_labels(message.labels, "model.labels", model.labels)
            return replace(
                model,
                display_name=message.display_name,
                description=message.description,
                labels=dict(message.labels),
            )

        return change

    def _version_change(self, request: Any, model: Model) -> Callable[[ModelVersion], ModelVersion]:
        def change(version: ModelVersion) -> ModelVersion:
            message = model_message(model, version)
            _check_etag(message, request.model)
            _set_labels(message, version.labels)
            masks.merge(message, request.model, request.update_mask, masks.Writable(_OF_VERSION))
            rules.check_labels(message.labels, "model.labels", version.labels)
            return replace(
                version, description=message.version_description, labels=dict(message.labels)
            )

        return change


def _check_mask(request: Any, *, of_model: bool) -> None:
    """Refuses a change of a version by its model's name, and the other way round."""
    misplaced = _OF_VERSION - _OF_MODEL if of_model else _OF_MODEL - _OF_VERSION
    named = {path.partition(".")[0] for path in request.update_mask.paths}
    if wrong := sorted(named & misplaced):
        whose = "one version; name it: models/ID@VERSION" if of_model else "the whole model"
        raise FailedPrecondition(
            f"`update_mask`: {', '.join(wrong)} belongs to {whose}. "
            f"This request is about {request.model.name}."
        )


def _check_etag(current: Any, given: Any) -> None:
    if given.etag and given.etag != current.etag:
        raise Aborted(
            f"{current.name} has changed since it was read: its `etag` is {current.etag}, the "
            f"request's is {given.etag[:64]!r}. Read it again, then retry."
        )


def _set_labels(message: Any, labels: dict[str, str]) -> None:
    """A message shows the labels of model and version merged; a change is about those of one."""
    message.ClearField("labels")
    message.labels.update(labels)


def _by_name(tree: Filter) -> Filter:
    """The filter with `model=ID` told in terms of the name, which ends so."""
    match tree:
        case All(operands):
            return All(tuple(_by_name(operand) for operand in operands))
        case Any_(operands):
            return Any_(tuple(_by_name(operand) for operand in operands))
        case Not(operand):
            return Not(_by_name(operand))
        case Comparison(path=("model",)):
            return replace(
                tree,
                path=("name",),
                value=tuple(f"*/models/{value}" for value in tree.value),
                wildcard=True,
            )
    return tree
