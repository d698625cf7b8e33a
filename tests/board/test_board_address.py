"""What addresses mean, and where other people's forms of them lead."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensordeck.board.address import MOST_EXPERIMENTS, forwarded, parse_address, path_of
from tensordeck.board.blob_keys import BlobKey
from tensordeck.errors import InvalidArgument
from tensordeck.names import ResourceName

E1 = "projects/p/locations/us-central1/tensorboards/1/experiments/first"
E2 = "projects/p/locations/us-central1/tensorboards/1/experiments/second"
ID1, ID2 = E1.replace("/", "+"), E2.replace("/", "+")


def test_an_experiment_stands_alone_and_its_runs_keep_their_names():
    board = parse_address("experiment", ID1)
    assert [m.experiment for m in board.members] == [E1]
    assert board.members[0].tensorboard == "projects/p/locations/us-central1/tensorboards/1"
    assert not board.compares
    assert board.prefix(0) == ""


def test_compared_experiments_mark_their_runs_as_the_web_app_expects():
    board = parse_address("compare", f"a:{ID1},b.1:{ID2}")
    assert [m.experiment for m in board.members] == [E1, E2]
    assert [board.prefix(0), board.prefix(1)] == ["[1] a/", "[2] b.1/"]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("experiment", "defaultExperimentId"),
        ("experiment", ID1 + "+runs+r"),
        ("experiment", ""),
        ("compare", ID1),
        ("compare", f":{ID1}"),
        ("compare", f"a b:{ID1}"),
        ("compare", f"a:{ID1},"),
        ("compare", f"a:{ID1},b:{ID1}"),
        ("compare", ",".join(f"a:{ID1}x{i}" for i in range(MOST_EXPERIMENTS + 1))),
    ],
)
def test_other_texts_are_refused_with_a_reason(kind, text):
    with pytest.raises(InvalidArgument, match=r"."):
        parse_address(kind, text)


@pytest.mark.parametrize(
    ("kind", "text", "path"),
    [
        ("experiment", ID1, None),
        ("experiment", "what ever", None),
        ("experiment", E1, f"/experiment/{ID1}/"),
        ("experiment", E1.rpartition("/experiments")[0], "/" + E1.rpartition("/experiments")[0]),
        ("experiment", ID1.rpartition("+experiments")[0], "/" + E1.rpartition("/experiments")[0]),
        ("experiment", f"{E1}/runs/r-1", f"/experiment/{ID1}/?runFilter=%5Er%5C-1%24"),
        ("compare", f"a:{ID1},b:{ID2}", None),
        (
            "compare",
            "1-first:p+us-central1+1+first,2-second:p+us-central1+1+second",
            f"/compare/1-first:{ID1},2-second:{ID2}/",
        ),
    ],
)
def test_forms_of_the_client_and_its_users_lead_to_the_right_page(kind, text, path):
    assert forwarded(kind, text) == path


def test_a_path_keeps_what_the_web_app_splits_at():
    assert path_of("compare", f"a:{ID1},b:{ID2}") == f"/compare/a:{ID1},b:{ID2}/"
    assert path_of("experiment", "ä b") == "/experiment/%C3%A4%20b/"


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_a_blob_key_is_safe_in_an_address_and_comes_back(blob_id):
    key = BlobKey(ResourceName.parse(f"{E1}/runs/r/timeSeries/5"), blob_id)
    assert set(str(key)) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert BlobKey.parse(str(key)) == key
    assert key.experiment == E1


@given(st.text())
def test_a_text_is_a_blob_key_or_refused(text):
    with contextlib.suppress(InvalidArgument):
        assert BlobKey.parse(text).blob_id
