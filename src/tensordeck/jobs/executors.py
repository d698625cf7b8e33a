"""The executors that there are, by the names that the settings give them."""

import threading
from collections.abc import Callable
from pathlib import Path

from tensordeck.errors import FailedPrecondition
from tensordeck.jobs.executor import Executor
from tensordeck.settings import Settings

__all__ = ["Executors"]


class Executors:
    """Opens executors when they are first needed, each once. Thread-safe.

    Args:
        settings: The server's settings.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open: dict[str, Executor] = {}
        self._lock = threading.Lock()

    def named(self, name: str) -> Executor:
        """Returns an executor.

        Raises:
            FailedPrecondition: If there is none of that name, or it can't work here.
        """
        with self._lock:
            if name not in self._open:
                opener = _OPENERS.get(name)
                if opener is None:
                    raise FailedPrecondition(
                        f"There is no executor {name!r}. Set --executor to one of "
                        f"{', '.join(_OPENERS)}."
                    )
                self._open[name] = opener(self._settings)
            return self._open[name]


def _process(settings: Settings) -> Executor:
    from tensordeck.jobs.process.executor import ProcessExecutor  # noqa: PLC0415 -- when needed

    return ProcessExecutor(
        settings.data_dir.absolute() / "environments",
        images=Path(settings.job_images) if settings.job_images else None,
        allow_missing_accelerators=settings.allow_missing_accelerators,
    )


def _container(settings: Settings) -> Executor:
    from tensordeck.jobs.container.executor import ContainerExecutor  # noqa: PLC0415 -- as above

    return ContainerExecutor(settings.container_engine)


def _ray(settings: Settings) -> Executor:
    from tensordeck.jobs.ray.executor import RayExecutor  # noqa: PLC0415 -- as above

    return RayExecutor(
        settings.ray_address,
        images=Path(settings.job_images) if settings.job_images else None,
        autoscaling=settings.ray_autoscaling,
    )


_OPENERS: dict[str, Callable[[Settings], Executor]] = {
    "process": _process,
    "container": _container,
    "ray": _ray,
}
