"""Metadata artifacts."""

from typing import Any

from tensordeck import names, protos
from tensordeck.errors import NotFound
from tensordeck.services.call import Call
from tensordeck.services.metadata_nodes import MetadataNodes
from tensordeck.services.node_kinds import ARTIFACTS
from tensordeck.services.paired_contexts import RUN_SUFFIX


class Artifacts(MetadataNodes):
    """Calls on artifacts."""

    def create_artifact(self, request: Any, _call: Call) -> Any:
        """Creates an artifact; its id is made up unless one is given."""
        return self._create(ARTIFACTS, request.parent, request.artifact, request.artifact_id)

    def get_artifact(self, request: Any, _call: Call) -> Any:
        """Returns an artifact."""
        return self._get(ARTIFACTS, request.name)

    def list_artifacts(self, request: Any, _call: Call) -> Any:
        """Lists artifacts."""
        return self._list(ARTIFACTS, request)

    def update_artifact(self, request: Any, _call: Call) -> Any:
        """Changes an artifact."""
        return self._update(ARTIFACTS, request.artifact, request)

    def delete_artifact(self, request: Any, _call: Call) -> Any:
        """Deletes an artifact.

        One that stands for a TensorBoard run goes with the run. The official client deletes it
        right after the run, and must not fail then.
        """
        try:
            return self._delete(ARTIFACTS, request)
        except NotFound:
            if not names.parse(request.name, ARTIFACTS.pattern).id.endswith(RUN_SUFFIX):
                raise
        return protos.message("google.protobuf.Empty")()

    def purge_artifacts(self, request: Any, _call: Call) -> Any:
        """Deletes the artifacts that match a filter."""
        return self._purge(ARTIFACTS, request)
