"""The console's routes, and the pages that list things."""

from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from tensordeck.access import LocalAccess
from tensordeck.console import listing
from tensordeck.console.comparison import comparison_path
from tensordeck.console.deletion import Deletions
from tensordeck.console.session import session_routes
from tensordeck.console.static_files import StaticFiles
from tensordeck.console.templating import Templates
from tensordeck.console.visit import Handler, Visit, guarded
from tensordeck.errors import NotFound
from tensordeck.names import EXPERIMENT, RUN, TENSORBOARD, ResourceName
from tensordeck.store.contract import Store
from tensordeck.store.resources import Experiment, Run, Tensorboard

__all__ = ["console_routes"]

_INSTANCE_PATH: Final = "/" + "/".join(f"{part}/{{{part}}}" for part in TENSORBOARD)
_EXPERIMENT_PATH: Final = "/" + "/".join(f"{part}/{{{part}}}" for part in EXPERIMENT)
_RUN_PATH: Final = "/" + "/".join(f"{part}/{{{part}}}" for part in RUN)


def console_routes(
    store: Store, access: LocalAccess, templates: Templates | None = None
) -> list[BaseRoute]:
    """The routes of all our pages; the last one answers any address with "not found".

    Args:
        store: What they show.
        access: Who may see it.
        templates: What renders them.
    """
    templates = templates or Templates()
    pages = _Pages(store, access, templates)
    deletions = Deletions(store, access, templates)

    def route(path: str, handler: Handler, *methods: str) -> Route:
        return Route(path, guarded(access, templates, handler), methods=list(methods or ("GET",)))

    routes: list[BaseRoute] = [
        *session_routes(access, templates),
        Mount("/static", StaticFiles()),
        Route("/favicon.ico", _favicon),
        route("/", pages.instances),
        route("/compare", pages.compare),
        route(_INSTANCE_PATH, pages.experiments),
        route(_EXPERIMENT_PATH, pages.runs),
    ]
    for path, pattern in (
        (_INSTANCE_PATH, TENSORBOARD),
        (_EXPERIMENT_PATH, EXPERIMENT),
        (_RUN_PATH, RUN),
    ):
        routes += [
            route(f"{path}/delete", deletions.ask(pattern)),
            route(f"{path}/delete", deletions.delete(pattern), "POST"),
        ]
    return [*routes, route("/{path:path}", _nothing_here, "GET", "POST", "PUT", "PATCH", "DELETE")]


class _Pages:
    """The pages that list things."""

    def __init__(self, store: Store, access: LocalAccess, templates: Templates) -> None:
        self._store = store
        self._access = access
        self._templates = templates

    def instances(self, visit: Visit) -> Response:
        """All instances."""
        self._access.check(visit.caller, "aiplatform.tensorboards.list", "projects/-")
        found = listing.instances(self._store, visit.query("q"), visit.query("page"))
        return self._templates.render(
            "instances.html", visit=visit, listing=found, deleted=_deleted(visit)
        )

    def experiments(self, visit: Visit) -> Response:
        """The experiments of an instance."""
        name = visit.resource(TENSORBOARD)
        self._access.check(visit.caller, "aiplatform.tensorboardExperiments.list", str(name))
        instance = self._store.catalog.get(Tensorboard, str(name))
        found = listing.experiments(
            self._store, instance.name, visit.query("q"), visit.query("page")
        )
        total = self._store.catalog.count_children(Experiment, [instance.name])[instance.name]
        return self._templates.render(
            "experiments.html",
            visit=visit,
            name=name,
            path=listing.page_path(name),
            instance=instance,
            listing=found,
            total=total,
            deleted=_deleted(visit),
        )

    def runs(self, visit: Visit) -> Response:
        """The runs of an experiment."""
        name = visit.resource(EXPERIMENT)
        self._access.check(visit.caller, "aiplatform.tensorboardRuns.list", str(name))
        experiment = self._store.catalog.get(Experiment, str(name))
        instance = self._store.catalog.get(Tensorboard, str(name.parent))
        found = listing.runs(self._store, experiment.name, visit.query("q"), visit.query("page"))
        total = self._store.catalog.count_children(Run, [experiment.name])[experiment.name]
        return self._templates.render(
            "runs.html",
            visit=visit,
            name=name,
            path=listing.page_path(name),
            parent_path=listing.page_path(name.parent),
            board=listing.board_path(name),
            instance=instance,
            experiment=experiment,
            listing=found,
            total=total,
            deleted=_deleted(visit),
        )

    def compare(self, visit: Visit) -> Response:
        """Sends the ticked experiments to one board."""
        chosen = visit.request.query_params.getlist("experiment")
        found = self._store.catalog.find_many(Experiment, chosen)
        experiments = [found[name] for name in dict.fromkeys(chosen) if name in found]
        if not experiments:
            raise NotFound("Tick the experiments that you want to compare, then press Compare.")
        if len(experiments) == 1:
            path = listing.board_path(ResourceName.parse(experiments[0].name))
        else:
            path = comparison_path(experiments)
        return RedirectResponse(path, 303)


def _deleted(visit: Visit) -> str:
    """The resource that was just deleted, for a word about it; empty otherwise."""
    name = visit.query("deleted")
    return name if name.startswith("projects/") and len(name) < 1000 else ""


def _nothing_here(visit: Visit) -> Response:
    raise NotFound(f"There is no page {visit.request.url.path} on this server.")


async def _favicon(_request: Request) -> Response:
    return RedirectResponse("/static/logo.svg", 308)
