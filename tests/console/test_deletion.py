"""Deleting from the pages."""

import pytest

from tensordeck.store.resources import Experiment, Run, Tensorboard
from tests.console.console_house import INSTANCE, House
from tests.console.page_text import text_of


def delete_form(house: House, path: str) -> dict[str, str]:
    page = house.owner.get(f"{path}/delete")
    assert page.status_code == 200
    form = page.text.split("<main")[1].split("<form")[1]
    return {"csrf_token": form.split('name="csrf_token" value="')[1].split('"')[0]}


def test_the_page_says_what_goes_before_it_goes(house: House):
    house.instance(display_name="Deck")
    experiment = house.experiment("e", display_name="Churn")
    house.run(experiment, "r1")
    house.run(experiment, "r2")

    page = text_of(house.owner.get(f"/{experiment.name}/delete").text)

    assert "Delete the experiment “Churn”?" in page
    assert "Its 2 runs and everything logged to them go with it." in page
    assert house.store.catalog.find(Experiment, experiment.name)


def test_the_question_says_what_outlives_an_instance(house: House):
    house.instance()
    house.experiment("churn")

    page = text_of(house.owner.get(f"/{INSTANCE}/delete").text)

    assert "but for the parameters and metrics of tracked experiments" in page


def test_a_confirmed_deletion_takes_all_below_and_returns_to_the_list(house: House):
    house.instance()
    experiment = house.experiment("e")
    run = house.run(experiment, "r")

    reply = house.owner.post(
        f"/{experiment.name}/delete", data=delete_form(house, f"/{experiment.name}")
    )

    assert reply.status_code == 303
    assert reply.headers["location"].startswith(f"/{INSTANCE}?deleted=")
    assert house.store.catalog.find(Experiment, experiment.name) is None
    assert house.store.catalog.find(Run, run.name) is None
    after = text_of(house.owner.get(reply.headers["location"]).text)
    assert f"Deleted {experiment.name} with all that was in it." in after


@pytest.mark.parametrize("below", ["", "/experiments/e", "/experiments/e/runs/r"])
def test_every_kind_can_be_deleted(house: House, below: str):
    house.instance()
    house.run(house.experiment("e"), "r")
    path = f"/{INSTANCE}{below}"

    reply = house.owner.post(f"{path}/delete", data=delete_form(house, path))

    assert reply.status_code == 303
    assert house.owner.get(f"{path}/delete").status_code == 404
    assert house.owner.get(reply.headers["location"]).status_code == 200


@pytest.mark.parametrize("token", [None, "", "0" * 64, "é"])
def test_a_form_of_another_site_deletes_nothing(house: House, token: str | None):
    house.instance()

    data = {} if token is None else {"csrf_token": token}
    reply = house.owner.post(f"/{INSTANCE}/delete", data=data)

    assert reply.status_code == 403
    assert "Go back, reload the page" in reply.text
    assert house.store.catalog.find(Tensorboard, INSTANCE)


def test_deleting_twice_says_that_it_is_gone(house: House):
    house.instance()
    form = delete_form(house, f"/{INSTANCE}")
    assert house.owner.post(f"/{INSTANCE}/delete", data=form).status_code == 303

    again = house.owner.post(f"/{INSTANCE}/delete", data=form)

    assert again.status_code == 404
    assert INSTANCE in again.text


def test_a_form_that_is_far_too_large_is_refused(house: House):
    house.instance()

    reply = house.owner.post(f"/{INSTANCE}/delete", data={"csrf_token": "x" * 100_000})

    assert reply.status_code == 413


def test_a_body_that_is_no_form_is_refused(house: House):
    house.instance()

    for kind, body in (
        ("multipart/form-data; boundary=x", b"junk"),
        ("multipart/form-data", b"junk"),
        ("application/x-www-form-urlencoded", b"\xff=&%zz&&&="),
    ):
        reply = house.owner.post(
            f"/{INSTANCE}/delete", content=body, headers={"content-type": kind}
        )

        assert reply.status_code in {400, 403}
    assert house.store.catalog.find(Tensorboard, INSTANCE)
