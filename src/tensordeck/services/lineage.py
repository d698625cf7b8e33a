"""Lineage: artifacts and executions with the events that connect them."""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from tensordeck import names, protos
from tensordeck.errors import FailedPrecondition, InvalidArgument
from tensordeck.filters import parse_filter
from tensordeck.services.call import Call
from tensordeck.services.executions import INPUT, OUTPUT
from tensordeck.services.metadata_nodes import MetadataNodes
from tensordeck.services.node_kinds import ARTIFACTS, CONTEXTS, EXECUTIONS
from tensordeck.services.times import set_micros
from tensordeck.store.contract import Link
from tensordeck.store.resources import Artifact, Context, Execution, Json


class Edge(NamedTuple):
    """An event.

    Attributes:
        artifact: Its artifact's full name.
        execution: Its execution's.
        kind: INPUT or OUTPUT.
    """

    artifact: str
    execution: str
    kind: int


Edges = dict[Edge, Json]
"""Events with the time (microseconds since the epoch) and the labels that were noted with them."""

_LIMIT: Final = 1000


class Lineage(MetadataNodes):
    """Calls that ask what led to what."""

    def query_execution_inputs_and_outputs(self, request: Any, _call: Call) -> Any:
        """Returns an execution with its inputs and outputs."""
        name = str(names.parse(request.execution, EXECUTIONS.pattern, "execution"))
        self._catalog.get(Execution, name)
        edges = self._edges_of_execution(name)
        return self._subgraph({edge.artifact for edge in edges}, {name}, edges)

    def query_context_lineage_subgraph(self, request: Any, _call: Call) -> Any:
        """Returns the artifacts and executions in a context, and the events between them."""
        name = str(names.parse(request.context, CONTEXTS.pattern, "context"))
        self._catalog.get(Context, name)
        members = [link.target for link in self._catalog.links("member", source=name)]
        artifacts = {member for member in members if "/artifacts/" in member}
        executions = {member for member in members if "/executions/" in member}
        edges = {
            edge: note
            for execution in executions
            for edge, note in self._edges_of_execution(execution).items()
            if edge.artifact in artifacts
        }
        return self._subgraph(artifacts, executions, edges)

    def query_artifact_lineage_subgraph(self, request: Any, _call: Call) -> Any:
        """Returns what an artifact was made of and what was made of it.

        `max_hops` counts events; without it (or with 0, which is the same on the wire) the whole
        graph that hangs together is returned. A filter chooses among the artifacts.
        """
        start = names.parse(request.artifact, ARTIFACTS.pattern, "artifact")
        self._catalog.get(Artifact, str(start))
        if request.max_hops < 0:
            raise InvalidArgument(f"`max_hops` must not be negative; it is {request.max_hops}.")
        tree = parse_filter(request.filter)
        artifacts, executions, edges = self._connected(str(start), request.max_hops or None)
        if tree is not None:
            artifacts &= {*self._names(ARTIFACTS, start.parent, tree)}
            edges = {edge: note for edge, note in edges.items() if edge.artifact in artifacts}
        return self._subgraph(artifacts, executions, edges)

    def _connected(self, start: str, hops: int | None) -> tuple[set[str], set[str], Edges]:
        """Walks from an artifact along events, breadth first."""
        artifacts, executions, edges = {start}, set[str](), Edges()
        frontier = {start}
        distance = 0
        while frontier and (hops is None or distance < hops):
            found: Edges = {}
            for node in frontier:
                found.update(
                    self._edges_of_artifact(node)
                    if "/artifacts/" in node
                    else self._edges_of_execution(node)
                )
            edges |= found
            reached = {edge.artifact for edge in found} - artifacts
            reached |= {edge.execution for edge in found} - executions
            artifacts |= {edge.artifact for edge in found}
            executions |= {edge.execution for edge in found}
            _check_limit(artifacts, executions, edges)
            frontier = reached
            distance += 1
        return artifacts, executions, edges

    def _edges_of_execution(self, name: str) -> Edges:
        return _edges(
            self._catalog.links("input", target=name), self._catalog.links("output", source=name)
        )

    def _edges_of_artifact(self, name: str) -> Edges:
        return _edges(
            self._catalog.links("input", source=name), self._catalog.links("output", target=name)
        )

    def _subgraph(self, artifacts: set[str], executions: set[str], edges: Edges) -> Any:
        _check_limit(artifacts, executions, edges)
        found_artifacts = self._catalog.find_many(Artifact, sorted(artifacts))
        found_executions = self._catalog.find_many(Execution, sorted(executions))
        return protos.message("LineageSubgraph")(
            artifacts=[self._shown(ARTIFACTS, record) for record in found_artifacts.values()],
            executions=[self._shown(EXECUTIONS, record) for record in found_executions.values()],
            events=[_event(edge, edges[edge]) for edge in sorted(edges)],
        )


def _edges(inputs: Iterable[Link], outputs: Iterable[Link]) -> Edges:
    return {Edge(link.source, link.target, INPUT): link.note for link in inputs} | {
        Edge(link.target, link.source, OUTPUT): link.note for link in outputs
    }


def _event(edge: Edge, note: Json) -> Any:
    event = protos.message("Event")(
        artifact=edge.artifact,
        execution=edge.execution,
        type_=edge.kind,
        labels=note.get("labels", {}),
    )
    if "time" in note:
        set_micros(event.event_time, note["time"])
    return event


def _check_limit(*parts: Iterable[object]) -> None:
    if any(len(list(part)) > _LIMIT for part in parts):
        raise FailedPrecondition(
            f"The lineage holds more than {_LIMIT} artifacts, executions or events; "
            "ask for less with `max_hops` or from another place."
        )
