"""One replica as its engine knows it: what a reconciler can ask and have done."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from tensordeck.jobs.executor import Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What an engine says of a replica.

    Attributes:
        phase: Where it is.
        exit_code: Once it ended by itself; negative for the number of a signal.
        reason: For a phase other than success, and while it waits for something.
    """

    phase: Phase
    exit_code: int | None = None
    reason: str = ""


class EngineReplica(ABC):
    """A replica in the hands of an engine. Called by one thread, except for `accompany`.

    Every method raises `tensordeck.errors.Unavailable` if the engine does not answer, and is
    called again then.

    Attributes:
        has_company: Whether `accompany` does anything.
    """

    has_company: ClassVar[bool] = False

    @abstractmethod
    def submit(self) -> str:
        """Hands it to the engine. May take long, but comes back soon when a cancel is asked for.

        Returns:
            What it still waits for, if that is why it was not handed over; else nothing.

        Raises:
            TensordeckError: If it can't be run as it is; the message is for the job's owner.
        """

    @abstractmethod
    def look(self) -> Sight | None:
        """Asks the engine how it is; None if the engine knows nothing of it."""

    @abstractmethod
    def stop(self) -> bool:
        """Has its end brought about, by force after the grace period; returns at once.

        It is called again and again until `look` says that the replica has ended.

        Returns:
            Whether there is an end to wait for: False if it was never begun, and never will.
        """

    def accompany(self) -> None:  # noqa: B027 -- not every engine needs anything
        """Does what is to be done beside it, such as copying what it prints, until it ends.

        Runs in a thread of its own, goes on where an earlier call stopped, and is called once more
        when the replica has ended.
        """

    def remove(self) -> None:  # noqa: B027 -- as above
        """Has the engine forget a replica that has ended, and end one that was given up."""


def exit_code_of(status: int) -> int:
    """A shell's exit status as an exit code: `128 + N` becomes the signal's number, -N."""
    return 128 - status if 128 < status <= 128 + 64 else status


__all__ = ["EngineReplica", "Sight", "exit_code_of"]
