"""MetadataService: contexts, artifacts and executions, and how they hang together."""

from tensordeck.services.artifacts import Artifacts
from tensordeck.services.contexts import Contexts
from tensordeck.services.executions import Executions
from tensordeck.services.lineage import Lineage
from tensordeck.services.metadata_stores import MetadataStores


class MetadataService(MetadataStores, Contexts, Artifacts, Executions, Lineage):
    """All calls, each a method of its snake_case name: `(request, call) -> reply`.

    Calls that are long-running in the API return the finished resource, or an Empty message.
    """
