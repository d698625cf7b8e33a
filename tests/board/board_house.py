"""A store with a board over it on a real port, and callers: nobody, and the owner."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import uvicorn

from tensordeck.access import SESSION_COOKIE, LocalAccess, open_access
from tensordeck.board.app import board_app
from tensordeck.names import ResourceName, board_id
from tensordeck.services.blob_objects import BlobObjects
from tensordeck.settings import Settings
from tensordeck.store import open_store
from tensordeck.store.contract import Store
from tensordeck.store.resources import Experiment, Tensorboard

INSTANCE = "projects/vision/locations/us-central1/tensorboards/42"


@dataclass
class House:
    """What runs.

    Attributes:
        store: Behind the boards.
        access: Who may see them.
        url: Where they are.
        cookie: The owner's session cookie.
    """

    store: Store
    access: LocalAccess
    url: str
    cookie: str

    def experiment(self, experiment_id: str, instance: str = INSTANCE, **fields: object) -> str:
        """Makes an experiment, and its instance when it is missing; returns its name."""
        catalog = self.store.catalog
        if catalog.find(Tensorboard, instance) is None:
            catalog.create(Tensorboard(name=instance, display_name="Vision"))
            BlobObjects(self.store).create_bucket(ResourceName.parse(instance))
        name = f"{instance}/experiments/{experiment_id}"
        return catalog.create(
            Experiment(name=name, **{"display_name": experiment_id, **fields})
        ).name

    def path(self, *experiments: str, aliases: tuple[str, ...] = ()) -> str:
        """The path of an experiment's board, or of the board that compares several."""
        if len(experiments) == 1 and not aliases:
            return f"/experiment/{board_id(experiments[0])}/"
        named = zip(aliases, experiments, strict=True)
        return "/compare/" + ",".join(f"{a}:{board_id(e)}" for a, e in named) + "/"

    def client(self, *, signed_in: bool = True) -> httpx.Client:
        """A caller that follows no redirects."""
        cookies = {SESSION_COOKIE: self.cookie} if signed_in else {}
        return httpx.Client(base_url=self.url, cookies=cookies, timeout=60)


@contextlib.contextmanager
def open_house(data_dir: Path) -> Iterator[House]:
    """Opens a store and serves its boards."""
    settings = Settings(data_dir=data_dir)
    data_dir.mkdir(parents=True, exist_ok=True)
    store = open_store(settings)
    access = open_access(store.catalog, settings)
    stopping = threading.Event()
    app = board_app(store, access, draining=stopping.is_set)
    token = access.sign_in_link("http://x").partition("token=")[2]
    config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            with httpx.Client(transport=httpx.HTTPTransport(retries=20)) as probe:
                probe.get(f"{url}/board/assets/0/none")
            yield House(store, access, url, access.open_session(token))
        finally:
            stopping.set()
            server.should_exit = True
            thread.join(20)
            store.close()
