"""The address of a resource's page."""

import pytest

from tensordeck.cli.open_command import page_path
from tensordeck.errors import InvalidArgument

INSTANCE = "projects/p/locations/us-central1/tensorboards/42"
BOARD = "projects+p+locations+us-central1+tensorboards+42+experiments+e"
PRINTED = "https://us-central1.tensorboard.googleusercontent.com"


@pytest.mark.parametrize(
    ("resource", "path"),
    [
        ("", "/"),
        (INSTANCE, f"/{INSTANCE}"),
        (f"{INSTANCE}/experiments/e", f"/experiment/{BOARD}/"),
        (f"{INSTANCE}/experiments/e/runs/r.1", f"/experiment/{BOARD}/?runFilter=%5Er%5C.1%24"),
        (f"{PRINTED}/experiment/{BOARD}", f"/experiment/{BOARD}/"),
        (
            f"{PRINTED}/experiment/{BOARD}/?tagFilter=x#scalars",
            f"/experiment/{BOARD}/?tagFilter=x#scalars",
        ),
        (f"{PRINTED}/experiment/{INSTANCE}", f"/{INSTANCE}"),
        (f"{PRINTED}/experiment/{INSTANCE}/experiments/e/", f"/experiment/{BOARD}/"),
        (f"{PRINTED}/compare/a:{BOARD},b:{BOARD}2/", f"/compare/a:{BOARD},b:{BOARD}2/"),
    ],
)
def test_names_and_printed_addresses_lead_to_our_pages(resource: str, path: str):
    assert page_path(resource) == path


@pytest.mark.parametrize(
    "resource",
    ["42", "projects/p", f"{INSTANCE}/operations/1", "https://example.com/", "projects//x/y"],
)
def test_what_has_no_page_is_refused(resource: str):
    with pytest.raises(InvalidArgument):
        page_path(resource)
