"""Writes `src/tensordeck/api/vertex.binpb`: the API's message types as one FileDescriptorSet.

The types are read from the official clients, so that what the server speaks is what they speak.
Run it in an environment that has google-cloud-aiplatform and google-cloud-logging, after upgrading
one of them:

    python tools/extract_api.py
"""

from pathlib import Path
from typing import Any

from google.cloud import resourcemanager_v3
from google.cloud.aiplatform_v1 import types
from google.cloud.location import locations_pb2
from google.cloud.logging_v2.types import ListLogEntriesRequest
from google.iam.v1 import iam_policy_pb2
from google.longrunning import operations_pb2
from google.protobuf import descriptor_pb2, empty_pb2

ROOTS = (
    types.CreateTensorboardRequest,
    types.CreateContextRequest,
    types.GetCustomJobRequest,
    types.CreateTrainingPipelineRequest,
    types.UploadModelRequest,
    types.LineageSubgraph,  # only replies use it, so no request brings it in
    resourcemanager_v3.GetProjectRequest,
    ListLogEntriesRequest,
)
TARGET = Path(__file__).parent.parent / "src" / "tensordeck" / "api" / "vertex.binpb"


def main() -> None:
    """Collects every file that the roots need, dependencies first, and writes them."""
    found: dict[str, Any] = {}

    def add(file: Any) -> None:
        if file.name not in found:
            for dependency in file.dependencies:
                add(dependency)
            found[file.name] = file

    for root in ROOTS:
        add(root.pb().DESCRIPTOR.file)
    for module in (operations_pb2, locations_pb2, iam_policy_pb2, empty_pb2):
        add(module.DESCRIPTOR)
    files = descriptor_pb2.FileDescriptorSet()
    for file in found.values():
        file.CopyToProto(files.file.add())
    TARGET.write_bytes(files.SerializeToString(deterministic=True))
    print(f"{TARGET}: {len(found)} files, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
