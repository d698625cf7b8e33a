"""Locations: the server answers for every region, and lists those that Vertex AI has."""

from typing import Any, Final

from tensordeck import names, protos
from tensordeck.services import paging
from tensordeck.services.call import Call
from tensordeck.services.page_tokens import make_token, read_token

REGIONS: Final = (
    "africa-south1",
    "asia-east1",
    "asia-east2",
    "asia-northeast1",
    "asia-northeast2",
    "asia-northeast3",
    "asia-south1",
    "asia-south2",
    "asia-southeast1",
    "asia-southeast2",
    "australia-southeast1",
    "australia-southeast2",
    "europe-central2",
    "europe-north1",
    "europe-north2",
    "europe-southwest1",
    "europe-west1",
    "europe-west12",
    "europe-west2",
    "europe-west3",
    "europe-west4",
    "europe-west6",
    "europe-west8",
    "europe-west9",
    "global",
    "me-central1",
    "me-central2",
    "me-west1",
    "northamerica-northeast1",
    "northamerica-northeast2",
    "southamerica-east1",
    "southamerica-west1",
    "us-central1",
    "us-east1",
    "us-east4",
    "us-east5",
    "us-east7",
    "us-south1",
    "us-west1",
    "us-west2",
    "us-west3",
    "us-west4",
    "us-west8",
)
"""The regions that the official client accepts."""
_PROJECT: Final = ("projects",)


class LocationsService:
    """`google.cloud.location.Locations`."""

    def get_location(self, request: Any, _call: Call) -> Any:
        """Returns a location; every region exists."""
        name = names.parse(request.name, names.LOCATION)
        return _message(name.project, name.location)

    def list_locations(self, request: Any, _call: Call) -> Any:
        """Lists the known regions."""
        project = names.parse(request.name.removesuffix("/locations"), _PROJECT).project
        size = paging.OPERATIONS.of(request.page_size)
        query = ("locations", project)
        start = read_token(query, request.page_token, 1)[0] if request.page_token else 0
        end = start + size
        return protos.message("google.cloud.location.ListLocationsResponse")(
            locations=[_message(project, region) for region in REGIONS[start:end]],
            next_page_token=make_token(query, (end,)) if end < len(REGIONS) else "",
        )


def _message(project: str, region: str) -> Any:
    return protos.message("google.cloud.location.Location")(
        name=f"projects/{project}/locations/{region}",
        location_id=region,
        labels={"cloud.googleapis.com/region": region},
    )
