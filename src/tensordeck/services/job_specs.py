"""What the spec of a custom job must keep to before anything runs.

Rules that the API documents, as far as breaking them could not work here either:
https://cloud.google.com/vertex-ai/docs/reference/rest/v1/CustomJobSpec.
"""

from typing import Any, Final

from tensordeck import names
from tensordeck.errors import InvalidArgument, NotFound
from tensordeck.names import ResourceName, shown
from tensordeck.store.contract import Catalog
from tensordeck.store.resources import Context, Tensorboard

__all__ = ["CONTEXT", "EXPERIMENT_SCHEMA", "check_spec"]

CONTEXT: Final = (*names.METADATA_STORE, "contexts")
EXPERIMENT_SCHEMA: Final = "system.Experiment"

_MAX_POOLS: Final = 4
"""workerpool0 to workerpool3: chief, workers, parameter servers, evaluators."""
_STORAGE: Final = "gs://"


def check_spec(spec: Any, place: ResourceName, catalog: Catalog, field: str) -> None:
    """Checks a CustomJobSpec.

    Args:
        spec: The message.
        place: The project and region that the job is made in.
        catalog: Where the resources that it names must be.
        field: The request's field that it came in; errors name it.

    Raises:
        InvalidArgument: If it can't work; the message names the field and the way out.
        NotFound: If it names a resource that does not exist.
    """
    _check_pools(spec.worker_pool_specs, f"{field}.worker_pool_specs")
    output = spec.base_output_directory.output_uri_prefix
    if spec.HasField("base_output_directory"):
        _check_storage(output, f"{field}.base_output_directory.output_uri_prefix")
    if spec.scheduling.timeout.seconds < 0:
        raise InvalidArgument(
            f"`{field}.scheduling.timeout` must not be negative; leave it out for the default."
        )
    if spec.tensorboard:
        _check_tensorboard(spec, place, catalog, field)
    if spec.experiment:
        _check_experiment(spec, place, catalog, field)
    elif spec.experiment_run:
        raise InvalidArgument(f"`{field}.experiment_run` needs `{field}.experiment` beside it.")


def _check_pools(pools: Any, field: str) -> None:
    if not pools or not pools[0].ByteSize():
        raise InvalidArgument(f"`{field}` is required, and its first pool must not be empty.")
    if len(pools) > _MAX_POOLS:
        raise InvalidArgument(f"`{field}` holds {len(pools)} pools; {_MAX_POOLS} are the most.")
    for number, pool in enumerate(pools):
        if pool.ByteSize():
            _check_pool(pool, f"{field}[{number}]", first=number == 0)


def _check_pool(pool: Any, field: str, *, first: bool) -> None:
    task = pool.WhichOneof("task")
    if task is None:
        raise InvalidArgument(
            f"`{field}` says nothing to run: give it a `container_spec` or a `python_package_spec`."
        )
    if pool.replica_count < 1:
        raise InvalidArgument(
            f"`{field}.replica_count` must be at least 1; it is {pool.replica_count}."
        )
    if first and pool.replica_count > 1:
        raise InvalidArgument(
            f"`{field}.replica_count` must be 1, for the first pool is the chief alone; it is "
            f"{pool.replica_count}. Put the other replicas into the second pool."
        )
    if pool.machine_spec.accelerator_count < 0:
        raise InvalidArgument(f"`{field}.machine_spec.accelerator_count` must not be negative.")
    if task == "python_package_spec":
        _check_package(pool.python_package_spec, f"{field}.python_package_spec")
    else:
        _require(pool.container_spec.image_uri, f"{field}.container_spec.image_uri")
    _check_texts(getattr(pool, task), f"{field}.{task}")


def _check_package(package: Any, field: str) -> None:
    _require(package.executor_image_uri, f"{field}.executor_image_uri")
    _require(package.python_module, f"{field}.python_module")
    _require(package.package_uris, f"{field}.package_uris")
    for number, uri in enumerate(package.package_uris):
        _check_storage(uri, f"{field}.package_uris[{number}]")


def _check_texts(task: Any, field: str) -> None:
    """No operating system passes a NUL on to a program."""
    given = [("args", text) for text in task.args]
    if task.DESCRIPTOR.name == "ContainerSpec":
        given += [("command", text) for text in task.command]
    for number, variable in enumerate(task.env):
        if not variable.name or "=" in variable.name:
            raise InvalidArgument(
                f"`{field}.env[{number}].name` must be a variable's name; "
                f"it is {shown(variable.name)}."
            )
        given.append((f"env[{number}]", variable.name + variable.value))
    for where, text in given:
        if "\0" in text:
            raise InvalidArgument(f"`{field}.{where}` holds a NUL character: {shown(text)}.")


def _check_tensorboard(spec: Any, place: ResourceName, catalog: Catalog, field: str) -> None:
    if spec.experiment:
        raise InvalidArgument(
            f"`{field}.tensorboard` and `{field}.experiment` can't be given together: the "
            "experiment's own Tensorboard gets the logs."
        )
    name = names.parse(spec.tensorboard, names.TENSORBOARD, f"{field}.tensorboard")
    _check_region(name, place, f"{field}.tensorboard")
    if catalog.find(Tensorboard, str(name)) is None:
        raise NotFound(f"`{field}.tensorboard`: Tensorboard {name} was not found.")
    _require_account(spec, field, "tensorboard")


def _check_experiment(spec: Any, place: ResourceName, catalog: Catalog, field: str) -> None:
    for which in ("experiment", "experiment_run"):
        if text := getattr(spec, which):
            name = names.parse(text, CONTEXT, f"{field}.{which}")
            _check_region(name, place, f"{field}.{which}")
            context = catalog.find(Context, str(name))
            if context is None:
                raise NotFound(f"`{field}.{which}`: Context {name} was not found.")
            if which == "experiment" and context.schema_title != EXPERIMENT_SCHEMA:
                raise InvalidArgument(
                    f"`{field}.experiment`: {name} is no experiment, but a "
                    f"{context.schema_title or 'context without schema'}."
                )
    if spec.experiment_run and not spec.experiment_run.startswith(f"{spec.experiment}-"):
        raise InvalidArgument(
            f"`{field}.experiment_run`: {spec.experiment_run} does not belong to the experiment "
            f"{spec.experiment}."
        )
    _require_account(spec, field, "experiment")


def _check_region(name: ResourceName, place: ResourceName, field: str) -> None:
    if name.location != place.location:
        raise InvalidArgument(
            f"`{field}`: {name} is in the region {name.location}, the job in {place.location}. "
            "Both must be in one region."
        )


def _require_account(spec: Any, field: str, why: str) -> None:
    if not spec.service_account:
        raise InvalidArgument(
            f"`{field}.service_account` is required with `{field}.{why}`: the job writes its logs "
            "as this account. Any address like training@PROJECT.iam.gserviceaccount.com will do."
        )


def _require(value: Any, field: str) -> None:
    if not value:
        raise InvalidArgument(f"`{field}` is required and must not be empty.")


def _check_storage(uri: str, field: str) -> None:
    if not uri.startswith(_STORAGE) or len(uri) == len(_STORAGE):
        raise InvalidArgument(f"`{field}` must be a gs:// address; it is {shown(uri)}.")
