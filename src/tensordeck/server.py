"""Composition: settings to store to services to fronts; start, drain, stop."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import uvicorn
import uvloop
from starlette.types import ASGIApp

from tensordeck import data_directory, errors
from tensordeck.access import open_access
from tensordeck.access.local import LocalAccess
from tensordeck.board.app import board_app
from tensordeck.console.pages import console_routes
from tensordeck.console.templating import Templates
from tensordeck.data_directory import Running
from tensordeck.front.app import HttpApp
from tensordeck.front.dispatch import Dispatcher
from tensordeck.front.door import Door, Upstreams
from tensordeck.front.end import End
from tensordeck.front.grpc_server import GrpcServer
from tensordeck.front.handed_connections import HandedConnections
from tensordeck.front.http_head import LenientHttpProtocol
from tensordeck.front.listening import listen_on, shown_host
from tensordeck.front.methods import IAM_POLICY, LOCATIONS, LOGGING, OPERATIONS, PROJECTS
from tensordeck.front.metrics import MetricsPage, read_token_file, server_families
from tensordeck.front.observed_calls import CallWatch, ObservedHttp
from tensordeck.front.readiness import Readiness
from tensordeck.front.rest import RestApi
from tensordeck.front.server_certificate import ServerCertificate, open_server_certificate
from tensordeck.front.socket_folder import socket_folder
from tensordeck.front.storage_api import is_storage_request, storage_app
from tensordeck.front.tls import ensure_certificates
from tensordeck.front.token_endpoint import token_routes
from tensordeck.front.traced_calls import traced_app
from tensordeck.jobs.background import BackgroundController
from tensordeck.services.custom_jobs import JobService
from tensordeck.services.iam_policy import IamPolicyService
from tensordeck.services.job_logs import JobLogs, NoJobLogs
from tensordeck.services.locations import LocationsService
from tensordeck.services.log_entries import LoggingService
from tensordeck.services.metadata import MetadataService
from tensordeck.services.models import ModelService
from tensordeck.services.operations import OperationsService
from tensordeck.services.projects import ProjectsService
from tensordeck.services.storage import StorageService
from tensordeck.services.sweeper import Sweeper
from tensordeck.services.tensorboard import TensorboardService
from tensordeck.services.training_pipelines import PipelineService
from tensordeck.settings import Settings
from tensordeck.store import open_store
from tensordeck.store.contract import Store
from tensordeck.store.resources import CustomJob
from tensordeck.telemetry.call_measures import CallMeasures
from tensordeck.telemetry.tracing import tracing_from_environment

log: Final = logging.getLogger("tensordeck")

_CERTIFICATE_SECONDS: Final = 60.0
"""How long a renewed certificate may lie there before it is shown, without a SIGHUP."""
_FIRST_ANSWERS: Final = 0.5
"""Seconds in which nothing else is made ready: it would take as long from the first answers."""


def run(settings: Settings, on_ready: Callable[[Running], None]) -> None:
    """Serves until SIGINT or SIGTERM, then drains.

    Args:
        settings: How.
        on_ready: Called once calls are taken.

    Raises:
        errors.TensordeckError: If it can't start; the message is one clear line.
    """
    began = time.monotonic()
    # The database holds the signing secret: nobody else on this machine may read what we make.
    os.umask(0o077)
    with data_directory.own(settings.data_dir), contextlib.ExitStack() as word:

        def ready(running: Running) -> None:
            word.enter_context(data_directory.announced(settings.data_dir, running))
            on_ready(running)

        uvloop.run(_serve(settings, ready, began))


def run_worker(
    settings: Settings,
    open_connections: Callable[[], HandedConnections],
    on_ready: Callable[[Running], None],
) -> None:
    """Serves, as one of several workers on a data directory, until no more connections come.

    Args:
        settings: How.
        open_connections: Gives what the supervisor hands over; called on the event loop.
        on_ready: Called once connections can be served.

    Raises:
        errors.TensordeckError: If it can't start.
    """
    uvloop.run(_serve(settings, on_ready, time.monotonic(), open_connections))


async def _serve(
    settings: Settings,
    on_ready: Callable[[Running], None],
    began: float,
    open_connections: Callable[[], HandedConnections] | None = None,
) -> None:
    handed = open_connections() if open_connections else None
    with (
        tracing_from_environment(),
        _opened(settings) as (store, certificate, access),
        socket_folder() as sockets,
    ):
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, certificate.reload)
        _keep_fresh(certificate)
        parts = _Parts(settings, store, access, certificate, sockets, handed)
        end = End(settings.drain_delay_seconds, parts.drain, handed)
        running = await parts.start(began)
        try:
            on_ready(running)
            await end.wait()
        finally:
            await parts.stop()


def _keep_fresh(certificate: ServerCertificate) -> None:
    """Looks now and then whether the operator's files have changed: nobody signals a pod."""
    asyncio.get_running_loop().call_later(_CERTIFICATE_SECONDS, _keep_fresh, certificate)
    certificate.reload()


@contextlib.contextmanager
def _opened(settings: Settings) -> Iterator[tuple[Store, ServerCertificate, LocalAccess]]:
    """What rests in the data directory and the database; made if it is not there yet."""
    with data_directory.making_files(settings.data_dir):
        store = open_store(settings)
        try:
            certificate = open_server_certificate(settings, ensure_certificates(settings))
            access = open_access(store.catalog, settings)
        except BaseException:
            store.close()
            raise
    try:
        yield store, certificate, access
    finally:
        store.close()


class _Parts:
    """What runs: the door before the gRPC server and the HTTP app."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        access: LocalAccess,
        certificate: ServerCertificate,
        sockets: Path,
        handed: HandedConnections | None,
    ) -> None:
        self._settings = settings
        self._is_worker = handed is not None
        self._access = access
        upstreams = Upstreams(
            grpc_tls=sockets / "grpc-tls",
            grpc_plain=sockets / "grpc",
            https=sockets / "https",
            http=sockets / "http",
        )
        self._jobs = BackgroundController(settings, store, access)
        dispatcher = make_dispatcher(
            store, access, self._jobs.wake, self._jobs.check, lambda: _kept_logs(settings.data_dir)
        )
        watch = CallWatch(CallMeasures(), settings.slow_seconds)
        self._door = Door(settings, upstreams, access.authenticate_proxy, handed=handed)
        families = server_families(
            store, watch.measures, self._door.connections, lambda: certificate.ends
        )
        self._grpc = GrpcServer(
            dispatcher,
            watch,
            tls_socket=upstreams.grpc_tls,
            plain_socket=upstreams.grpc_plain,
            credentials=certificate.grpc_credentials(),
        )
        rest = RestApi(dispatcher)
        self._readiness = Readiness(access.check_store)
        self._stopping = asyncio.Event()
        board = board_app(store.lagging, access, draining=self._stopping.is_set)
        templates = Templates()
        self._prepare_board = board.prepare
        self._preparations = (templates.prepare, rest.prepare)
        app = HttpApp(
            rest=rest,
            storage=storage_app(store, access),
            is_storage=is_storage_request,
            board=board,
            google_routes=list(token_routes(access)),
            pages=list(console_routes(store, access, templates)),
            metrics=MetricsPage(
                families,
                access,
                read_token_file(settings.metrics_token_file),
                of_many=self._is_worker and settings.workers > 1,
            ),
            readiness=self._readiness,
        )
        observed = traced_app(ObservedHttp(app, watch))
        self._http = [
            _HttpServer(_uvicorn(observed, uds=str(upstreams.http))),
            _HttpServer(
                _uvicorn(
                    observed,
                    uds=str(upstreams.https),
                    ssl_context_factory=lambda *_: certificate.https_context(),
                )
            ),
        ]
        if settings.metrics_port:
            self._http.append(_metrics_server(settings, MetricsPage(families, None)))
        self._sweeper = Sweeper(
            {
                "expired uploads and orphaned blobs": StorageService(store).sweep,
                "old operations": OperationsService(store).sweep,
                "past states of contexts": store.catalog.forget_past_contexts,
            }
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._ended = threading.Event()

    async def start(self, began: float) -> Running:
        """Starts everything; returns once calls are taken."""
        self._beside(self._make_board_ready)
        await self._grpc.start()
        self._tasks = [asyncio.create_task(server.serve()) for server in self._http]
        for server in self._http:
            await server.ready.wait()
        try:
            port = await self._door.start()
        except BaseException:
            await self._grpc.stop(0)
            raise
        self._beside(self._prepare, port)
        url = self._settings.public_url or f"http://{shown_host(self._settings.host)}:{port}"
        return Running(
            url=url,
            sign_in_url=self._access.sign_in_link(url),
            port=port,
            data_dir=self._settings.data_dir,
            start_seconds=time.monotonic() - began,
        )

    def _beside(self, work: Callable[..., None], *arguments: Any) -> None:
        """Starts what no answer waits for, on a thread of its own."""
        threading.Thread(target=work, args=arguments, name=work.__name__, daemon=True).start()

    def _make_board_ready(self) -> None:
        """Unpacks and packs the board's program: without the interpreter's lock, for the most."""
        try:
            self._prepare_board()
        except errors.TensordeckError as error:
            log.warning("%s", error.message)

    def _prepare(self, port: int) -> None:
        """Does, after the first answers, what later calls need: no start should wait for it.

        Jobs come last: nobody waits for them as one does for a page.
        """
        self._ended.wait(_FIRST_ANSWERS)
        for prepare in self._preparations:
            prepare()
        with contextlib.ExitStack() as duties:
            if self._is_worker:
                self._jobs.load(port)
                duties.enter_context(data_directory.wait_for_duties(self._settings.data_dir))
            self._sweeper.start()
            self._jobs.start(port)
            self._ended.wait()

    def drain(self) -> None:
        """Tells load balancers to send their calls elsewhere."""
        self._readiness.draining = True

    async def stop(self) -> None:
        """Takes no more calls, lets those in flight finish, then ends."""
        self._stopping.set()  # open boards look elsewhere
        grace = self._settings.drain_seconds
        # First, while the door is open, for jobs send their logs through it.
        await asyncio.to_thread(self._jobs.stop, grace / 2)
        self._sweeper.stop()
        self._ended.set()
        for server in self._http:
            server.should_exit = True
        await asyncio.gather(self._door.stop(grace), self._grpc.stop(grace))
        _, pending = await asyncio.wait(self._tasks, timeout=max(0.1, grace / 4))
        for task in pending:
            task.cancel()


class _HttpServer(uvicorn.Server):
    """Uvicorn without its own signal handlers, and with a word when it is ready."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket] | None = None) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self._sockets = sockets

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[Any] | None = None) -> None:
        await super().startup(self._sockets or sockets)
        self.ready.set()


def _metrics_server(settings: Settings, page: MetricsPage) -> _HttpServer:
    """A listener that has the metrics only.

    Raises:
        errors.FailedPrecondition: If its address can't be listened on.
    """
    try:
        sockets = listen_on(settings.metrics_host, settings.metrics_port)
    except errors.FailedPrecondition as error:
        raise errors.FailedPrecondition(
            error.message.replace("--port", "--metrics-port").replace("--host", "--metrics-host")
        ) from error
    return _HttpServer(_uvicorn(page), sockets)


def _uvicorn(app: ASGIApp, **more: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=LenientHttpProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=3,
        **more,
    )


def make_dispatcher(
    store: Store,
    access: LocalAccess,
    wake: Callable[[], None] = lambda: None,
    check: Callable[[CustomJob], None] = lambda _job: None,
    open_logs: Callable[[], JobLogs] = NoJobLogs,
) -> Dispatcher:
    """Every service of ours, behind one dispatcher.

    Args:
        store: Where everything rests.
        access: Who may call what.
        wake: Tells what runs jobs that there is something to do.
        check: Refuses a job that could never run here.
        open_logs: Gives the jobs' logs when they are first asked for.
    """
    operations = OperationsService(store)
    return Dispatcher(
        access,
        {
            "TensorboardService": TensorboardService(store),
            "MetadataService": MetadataService(store),
            "JobService": JobService(store, wake, check),
            "PipelineService": PipelineService(store, wake, check),
            "ModelService": ModelService(store),
            OPERATIONS: operations,
            LOCATIONS: LocationsService(),
            LOGGING: LoggingService(open_logs),
            PROJECTS: ProjectsService(),
            IAM_POLICY: IamPolicyService(access),
        },
        operations.finish,
    )


def _kept_logs(data_dir: Path) -> JobLogs:
    """The logs of the jobs in a data directory."""
    from tensordeck.jobs.kept_logs import KeptLogs  # noqa: PLC0415 -- no start should wait for it

    return KeptLogs(data_dir)


__all__ = ["Running", "make_dispatcher", "run", "run_worker"]
