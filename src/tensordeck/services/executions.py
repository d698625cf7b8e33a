"""Metadata executions and their events: which artifacts went in and which came out."""

import time
from typing import Any, Final

from tensordeck import names, protos
from tensordeck.errors import InvalidArgument
from tensordeck.services import rules
from tensordeck.services.call import Call
from tensordeck.services.metadata_nodes import MetadataNodes
from tensordeck.services.node_kinds import ARTIFACTS, EXECUTIONS
from tensordeck.store.resources import Execution

INPUT: Final = 1
OUTPUT: Final = 2


class Executions(MetadataNodes):
    """Calls on executions."""

    def create_execution(self, request: Any, _call: Call) -> Any:
        """Creates an execution; its id is made up unless one is given."""
        return self._create(EXECUTIONS, request.parent, request.execution, request.execution_id)

    def get_execution(self, request: Any, _call: Call) -> Any:
        """Returns an execution."""
        return self._get(EXECUTIONS, request.name)

    def list_executions(self, request: Any, _call: Call) -> Any:
        """Lists executions."""
        return self._list(EXECUTIONS, request)

    def update_execution(self, request: Any, _call: Call) -> Any:
        """Changes an execution."""
        return self._update(EXECUTIONS, request.execution, request)

    def delete_execution(self, request: Any, _call: Call) -> Any:
        """Deletes an execution and its events."""
        return self._delete(EXECUTIONS, request)

    def purge_executions(self, request: Any, _call: Call) -> Any:
        """Deletes the executions that match a filter."""
        return self._purge(EXECUTIONS, request)

    def add_execution_events(self, request: Any, _call: Call) -> Any:
        """Notes artifacts as inputs or outputs of an execution; what is noted stays as is."""
        execution = names.parse(request.execution, EXECUTIONS.pattern, "execution")
        self._catalog.get(Execution, str(execution))
        inputs: list[tuple[str, dict[str, str]]] = []
        outputs: dict[tuple[tuple[str, str], ...], list[str]] = {}
        for index, event in enumerate(request.events):
            field = f"events[{index}]."
            artifact = names.parse(event.artifact, ARTIFACTS.pattern, f"{field}artifact")
            if artifact.parent != execution.parent:
                raise InvalidArgument(
                    f"`{field}artifact` {artifact} is not in the execution's metadata store "
                    f"{execution.parent}."
                )
            if event.execution and event.execution != str(execution):
                raise InvalidArgument(
                    f"`{field}execution` must be empty or {execution}; it is {event.execution}."
                )
            if event.type_ not in (INPUT, OUTPUT):
                raise InvalidArgument(f"`{field}type` must be INPUT or OUTPUT.")
            rules.check_labels(event.labels, f"{field}labels", {})
            if event.type_ == INPUT:
                inputs.append((str(artifact), dict(event.labels)))
            else:
                # What is labelled alike is written together.
                outputs.setdefault(tuple(sorted(event.labels.items())), []).append(str(artifact))
        now = time.time_ns() // 1000
        for labels, artifacts in outputs.items():
            note = {"time": now, "labels": dict(labels)}
            self._catalog.add_links("output", str(execution), artifacts, note)
        for artifact_name, input_labels in inputs:
            note = {"time": now, "labels": input_labels}
            self._catalog.add_links("input", artifact_name, [str(execution)], note)
        return protos.message("AddExecutionEventsResponse")()
