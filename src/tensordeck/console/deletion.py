"""Deleting a resource: a page that says what goes, then the deletion itself."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response

from tensordeck import protos
from tensordeck.access import LocalAccess
from tensordeck.console.listing import page_path
from tensordeck.console.templating import Templates
from tensordeck.console.visit import Handler, Visit
from tensordeck.names import EXPERIMENT, RUN, TENSORBOARD, ResourceName
from tensordeck.services.call import Call
from tensordeck.services.tensorboard import TensorboardService
from tensordeck.store.contract import Store
from tensordeck.store.resources import Experiment, Resource, Run, Tensorboard, TimeSeries

__all__ = ["Deletions"]

_KINDS: Final[dict[str, type[Resource]]] = {
    "tensorboards": Tensorboard,
    "experiments": Experiment,
    "runs": Run,
}
_CHILDREN: Final[dict[str, tuple[type[Resource], str]]] = {
    "tensorboards": (Experiment, "experiment"),
    "experiments": (Run, "run"),
    "runs": (TimeSeries, "time series"),
}


class Deletions:
    """The pages under `/delete`. What they delete goes through the API's own methods."""

    def __init__(self, store: Store, access: LocalAccess, templates: Templates) -> None:
        self._store = store
        self._access = access
        self._templates = templates
        service = TensorboardService(store)
        self._methods = {
            TENSORBOARD: (service.delete_tensorboard, "Tensorboard"),
            EXPERIMENT: (service.delete_tensorboard_experiment, "TensorboardExperiment"),
            RUN: (service.delete_tensorboard_run, "TensorboardRun"),
        }

    def ask(self, pattern: Sequence[str]) -> Handler:
        """The page that asks whether a resource of this kind is to go."""

        def handler(visit: Visit) -> Response:
            name = visit.resource(pattern)
            self._check(visit, name)
            resource: Resource = self._store.catalog.get(_KINDS[name.kind], str(name))
            child, noun = _CHILDREN[name.kind]
            count = self._store.catalog.count_children(child, [resource.name])[resource.name]
            return self._templates.render(
                "delete.html",
                visit=visit,
                name=name,
                resource=resource,
                child_count=count,
                child_noun=noun,
                back=page_path(name.parent if name.kind == "runs" else name),
            )

        return handler

    def delete(self, pattern: Sequence[str]) -> Handler:
        """Deletes a resource of this kind, then shows the list that it was in."""

        def handler(visit: Visit) -> Response:
            name = visit.resource(pattern)
            visit.require_own_form()
            self._check(visit, name)
            method, noun = self._methods[tuple(pattern)]
            method(protos.message(f"Delete{noun}Request")(name=str(name)), Call(visit.caller))
            parent = "/" if name.kind == "tensorboards" else page_path(name.parent)
            return RedirectResponse(f"{parent}?{urlencode({'deleted': str(name)})}", 303)

        return handler

    def _check(self, visit: Visit, name: ResourceName) -> None:
        nouns = {
            "tensorboards": "tensorboards",
            "experiments": "tensorboardExperiments",
            "runs": "tensorboardRuns",
        }
        self._access.check(visit.caller, f"aiplatform.{nouns[name.kind]}.delete", str(name))
