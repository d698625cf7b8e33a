"""What the pages show of a real store."""

import re
import time
from html import unescape

import numpy as np
import pytest

from tensordeck.store.contract import ScalarColumns, SeriesPoints
from tensordeck.store.resources import (
    Artifact,
    Context,
    Experiment,
    MetadataStore,
    Run,
    TimeSeries,
)
from tests.console.console_house import INSTANCE, PLACE, House
from tests.console.page_text import rows, text_of

BOARD = "projects+vision+locations+us-central1+tensorboards+42+experiments+"


def test_an_empty_server_teaches_how_to_create_an_instance(house: House):
    page = house.owner.get("/")

    assert page.status_code == 200
    assert "aiplatform.Tensorboard.create(" in page.text
    assert "tensordeck exec -- python create_tensorboard.py" in page.text
    assert "tensordeck exec -- gcloud ai tensorboards create" in page.text


def test_instances_are_listed_with_their_counts(house: House):
    house.instance(display_name="Team deck", description="For all of us", is_default=True)
    house.instance(f"{PLACE}/tensorboards/43", labels={"env": "dev"})
    first = house.experiment("e1")
    house.experiment("e2")
    house.run(first, "r1")

    newest, oldest = rows(house.owner.get("/").text)

    assert "43" in newest[0]
    assert "env: dev" in newest[0]
    assert oldest[:5] == ["Team deck default 42 For all of us", "vision", "us-central1", "2", "1"]


def test_experiments_are_listed_with_runs_and_boards(house: House):
    house.instance()
    experiment = house.experiment("churn", display_name="Churn", labels={"owner": "ana"})
    house.run(experiment, "r1")
    house.run(experiment, "r2")

    page = house.owner.get(f"/{INSTANCE}").text

    assert [row[1:3] for row in rows(page)] == [["Churn churn owner: ana", "2"]]
    assert f'href="/experiment/{BOARD}churn/"' in page
    assert f'href="/{experiment.name}"' in page


def test_a_run_says_how_it_ended_where_it_was_tracked(house: House):
    house.instance()
    experiment = house.experiment("churn")
    for run_id in ("tracked", "elsewhere", "plain"):
        house.run(experiment, run_id)
    metadata_store = f"{PLACE}/metadataStores/default"
    house.store.catalog.create(MetadataStore(name=metadata_store))
    for run_id, instance in (("tracked", INSTANCE), ("elsewhere", f"{PLACE}/tensorboards/43")):
        house.store.catalog.create_many(
            [
                Context(
                    name=f"{metadata_store}/contexts/churn-{run_id}", metadata={"_state": "FAILED"}
                ),
                Artifact(
                    name=f"{metadata_store}/artifacts/churn-{run_id}-tb-run",
                    metadata={"resourceName": f"{instance}/experiments/churn/runs/{run_id}"},
                ),
            ]
        )

    listed = [row[0] for row in rows(house.owner.get(f"/{experiment.name}").text)]

    assert listed == ["plain", "elsewhere", "tracked failed"]


def test_an_instance_without_experiments_teaches_how_to_log_with_its_own_name(house: House):
    house.instance()

    page = unescape(house.owner.get(f"/{INSTANCE}").text)

    assert "--tensorboard 42" in page
    assert 'tensorboard_id="42"' in page
    assert 'aiplatform.init(project="vision", location="us-central1")' in page


def test_runs_are_listed_with_series_and_sizes(house: House):
    house.instance()
    experiment = house.experiment("e")
    run = house.run(experiment, "lr-1", display_name="LR=0.1, BS=64")
    series = house.store.catalog.create(
        TimeSeries(name=f"{run.name}/timeSeries/1", display_name="loss", plugin_name="scalars")
    )
    columns = ScalarColumns(np.arange(9), np.full(9, time.time_ns()), np.linspace(0, 1, 9))
    house.store.points.append([SeriesPoints(series.pk, run.pk, columns)])
    house.store.points.fold()
    size = house.store.points.totals(Run, [run.pk])[run.pk].size
    assert 0 < size < 1000

    house.run(experiment, "without-points")

    page = house.owner.get(f"/{experiment.name}").text

    assert rows(page)[0][:5] == ["without-points", "0", "0 B", "just now", "never"]
    assert rows(page)[1][:5] == ["LR=0.1, BS=64 lr-1", "1", f"{size} B", "just now", "just now"]
    assert rows(house.owner.get(f"/{INSTANCE}").text)[0][2:6] == [
        *("2", f"{size} B", "just now", "just now")
    ]
    assert rows(house.owner.get("/").text)[0][3:8] == [
        *("1", "2", f"{size} B", "just now", "just now")
    ]
    assert f'href="/experiment/{BOARD}e/?runFilter=%5ELR%3D0%5C.1%2C%5C%20BS%3D64%24"' in page


def test_what_people_wrote_is_shown_as_text_only(house: House):
    evil = '<script>alert("x")</script>'
    house.instance(display_name=evil, description=evil, labels={"k": evil})

    for path in ("/", f"/{INSTANCE}", f"/{INSTANCE}/delete", f"/?q={evil}", f"/{evil}"):
        page = house.owner.get(path).text

        assert "<script>alert" not in page
        assert page.count("<script") == 1


def test_the_list_goes_on_page_by_page_without_repeating(house: House):
    house.instance()
    names = [f"{INSTANCE}/experiments/e{number}" for number in range(120)]
    house.store.catalog.create_many([Experiment(name=name) for name in names])

    seen: list[str] = []
    path = f"/{INSTANCE}"
    while path:
        page = house.owner.get(path).text
        found = re.findall(r'name="experiment" value="([^"]+)"', page)
        assert len(found) <= 50
        seen += found
        following = re.search(r'rel="next" href="([^"]+)"', page)
        path = f"/{INSTANCE}{unescape(following[1])}" if following else ""

    assert sorted(seen) == sorted(names)


def test_a_search_finds_names_and_ids_and_says_so_when_there_is_nothing(house: House):
    house.instance()
    house.experiment("alpha", display_name="Churn v2")
    house.experiment("beta")

    assert [row[1] for row in rows(house.owner.get(f"/{INSTANCE}?q=Churn").text)] == [
        "Churn v2 alpha"
    ]
    assert [row[1] for row in rows(house.owner.get(f"/{INSTANCE}?q=bet").text)] == ["beta"]
    nothing = house.owner.get(f"/{INSTANCE}?q=gamma")
    assert nothing.status_code == 200
    assert "No experiments match “gamma”" in nothing.text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nowhere", 404),
        ("/projects/vision", 404),
        (f"/{PLACE}/tensorboards/1", 404),
        (f"/{INSTANCE}/experiments/none", 404),
        (f"/{INSTANCE}/delete", 404),
        ("/?page=forged", 400),
        ("/compare", 404),
        ("/%00", 404),
        (f"/{PLACE}/tensorboards/%00", 404),
        (f"/{PLACE}/tensorboards/%F0%9F%9A%80", 404),
    ],
)
def test_what_does_not_exist_gets_a_page_of_ours(house: House, path: str, status: int):
    page = house.owner.get(path)

    assert page.status_code == status
    assert "All instances" in text_of(page.text)


def test_ticked_experiments_are_compared_under_names_of_their_own(house: House):
    house.instance()
    chosen = [
        house.experiment("a", display_name="LR 0.1, wide"),
        house.experiment("b", display_name="LR 0.1; wide"),
        house.experiment("c", display_name="模型"),
    ]

    reply = house.owner.get("/compare", params={"experiment": [item.name for item in chosen]})

    assert reply.status_code == 303
    assert reply.headers["location"] == (
        f"/compare/LR-0.1-wide:{BOARD}a,LR-0.1-wide-2:{BOARD}b,c:{BOARD}c/"
    )


def test_one_ticked_experiment_opens_its_board(house: House):
    house.instance()
    only = house.experiment("a")

    reply = house.owner.get("/compare", params={"experiment": [only.name, only.name, "junk"]})

    assert reply.headers["location"] == f"/experiment/{BOARD}a/"


def test_pages_load_nothing_from_elsewhere_and_run_nothing_inline(house: House):
    house.instance()

    for path in ("/", f"/{INSTANCE}", f"/{INSTANCE}/delete", "/nowhere"):
        page = house.owner.get(path)

        assert "script-src 'self'" in page.headers["content-security-policy"]
        assert "unsafe" not in page.headers["content-security-policy"]
        assert not re.search(r'(?:src|href|action)="(?:https?:)?//', page.text)
        assert not re.search(r"\son\w+=|style=|<script>", page.text)
        assert page.headers["cache-control"] == "no-store"


def test_static_files_are_open_and_cached_by_their_content(house: House):
    page = house.stranger.get("/").text
    addresses = re.findall(r'(?:href|src)="(/static/[^"]+)"', page)
    assert {address.partition("?")[0] for address in addresses} == {
        "/static/console.css",
        "/static/console.js",
        "/static/logo.svg",
    }

    for address in addresses:
        reply = house.stranger.get(unescape(address))

        assert reply.status_code == 200
        assert "immutable" in reply.headers["cache-control"]
    assert house.stranger.get("/static/../pages.py").status_code != 200
    assert house.stranger.get("/favicon.ico").headers["location"] == "/static/logo.svg"
