"""Many writers of one context: nobody's key is lost, and the client's retries always suffice."""

import itertools
import math
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensordeck import errors, protos
from tensordeck.services.concurrent_writes import Refusals, joined
from tensordeck.settings import Settings
from tensordeck.store import open_store
from tensordeck.store.resources import Context
from tests.services.conftest import make_api
from tests.strategies import documents

STALE = re.compile(
    r"Specified Context `etag`: `(\d+)` does not match server `etag`: `(\d+)`", re.ASCII
)
ATTEMPTS = 5
"""Of the official client, which then gives up."""


def context(api: Any, metadata: dict[str, Any], context_id: str = "exp-run") -> Any:
    return api(
        "CreateContext",
        parent=api.metadata_store,
        context_id=context_id,
        context={"display_name": "run", "metadata": metadata},
    )


def log(api: Any, mine: Any, key: str, value: float) -> Any:
    """What the official client does for one parameter: returns its context afterwards."""
    for attempt in range(1, ATTEMPTS + 1):
        changed = type(mine)()
        changed.CopyFrom(mine)
        changed.metadata.get_or_create_struct("_params")[key] = value
        try:
            return api("UpdateContext", context=changed)
        except errors.Aborted as error:
            refused = STALE.match(error.message)
            if attempt == ATTEMPTS or not refused or not refused[1] < refused[2]:
                raise
            mine = api("GetContext", name=mine.name)
    raise AssertionError


class Anyone:
    """Servers behind a load balancer: each call goes to the next one."""

    def __init__(self, *servers: Any) -> None:
        self._turns = itertools.cycle(servers)

    def __call__(self, *arguments: Any, **fields: Any) -> Any:
        return next(self._turns)(*arguments, **fields)


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_twenty_writers_of_one_run_lose_nothing(api, transport):
    twenty_writers(api.over(transport=transport))


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_twenty_writers_of_one_run_lose_nothing_on_several_servers(tmp_path, transport):
    stores = [open_store(Settings(data_dir=tmp_path)) for _ in range(3)]
    place = "projects/p/locations/l"
    apis = [make_api(store, place).over(transport=transport) for store in stores]
    twenty_writers(apis[0], *apis)
    for store in stores:
        store.close()


def twenty_writers(api: Any, *servers: Any) -> None:
    name = context(api, {"_params": {"common": 1.0}, "_state": "RUNNING"}).name
    anyone = Anyone(*(servers or (api,)))

    def write(writer: int) -> None:
        mine = anyone("GetContext", name=name)
        for number in range(10):
            mine = log(anyone, mine, f"{writer}-{number}", number)

    with ThreadPoolExecutor(20) as writers:
        list(writers.map(write, range(20)))
    params = protos.to_json(api("GetContext", name=name).metadata)["_params"]
    expected = {f"{writer}-{number}": number for writer in range(20) for number in range(10)}
    assert params == {"common": 1.0, **expected}


def test_writers_are_refused_before_they_are_joined(api):
    """The first refusals are the API's; the client must never meet as many as it has attempts."""
    first = context(api, {"a": 1.0})
    api("UpdateContext", context={"name": first.name, "metadata": {"a": 1.0, "b": 2.0}})
    stale: Any = protos.message("Context")(name=first.name, etag=first.etag)
    stale.metadata.update({"a": 1.0, "c": 3.0})
    refusals = []
    after = None
    while after is None:
        try:
            after = api("UpdateContext", context=stale)
        except errors.Aborted as error:
            refusals.append(STALE.match(error.message))
    assert 1 <= len(refusals) < ATTEMPTS - 1
    assert all(refusals)
    assert protos.to_json(after.metadata) == {"a": 1.0, "b": 2.0, "c": 3.0}


def test_a_stale_writer_brings_back_nothing_old(api):
    """It sends all that it once read, but only what it changed counts."""
    api = api.over(transport="rest")
    first = context(api, {"_metrics": {"loss": 9.0, "gone": 1.0}, "_state": "RUNNING"})
    api(
        "UpdateContext",
        context={
            "name": first.name,
            "display_name": "renamed",
            "labels": {"team": "red"},
            "metadata": {"_metrics": {"loss": 0.5}, "_state": "COMPLETE"},
        },
    )
    first.metadata.get_or_create_struct("_metrics")["late"] = 7.0
    after = api("UpdateContext", context=first)
    assert protos.to_json(after.metadata) == {
        "_metrics": {"loss": 0.5, "late": 7.0},
        "_state": "COMPLETE",
    }
    assert (after.display_name, dict(after.labels)) == ("renamed", {"team": "red"})


def test_an_etag_that_nobody_gave_out_is_refused_however_often_it_comes(api):
    name = context(api, {"a": 1.0}).name
    for _ in range(10):
        with pytest.raises(errors.Aborted, match="etag"):
            api("UpdateContext", context={"name": name, "etag": "1", "metadata": {"b": 1}})


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_a_server_knows_what_another_ones_etag_stood_for(api, transport):
    first = context(api, {"_params": {"a": 1.0, "gone": 5.0}})
    api("UpdateContext", context={"name": first.name, "metadata": {"_params": {"b": 2.0}}})
    other = api.another_process().over(transport=transport)
    after = log(other, first, "c", 3.0)
    assert protos.to_json(after.metadata) == {"_params": {"b": 2.0, "c": 3.0}}


def test_what_an_etag_stood_for_long_ago_is_forgotten(api, monkeypatch):
    first = context(api, {"_params": {"a": 1.0}})
    api("UpdateContext", context={"name": first.name, "metadata": {"_params": {"b": 2.0}}})
    catalog = api.store.catalog
    revision = int(first.etag) - int(context(api, {}, "new").etag) + 1
    assert catalog.past_context(first.name, revision).metadata == {"_params": {"a": 1.0}}
    catalog.forget_past_contexts()  # as any server may at any time
    assert catalog.past_context(first.name, revision) is not None
    later = time.time() + 3600
    monkeypatch.setattr(time, "time_ns", lambda: int(later * 1e9))
    monkeypatch.setattr(time, "time", lambda: later)
    assert catalog.forget_past_contexts() >= 1
    assert catalog.past_context(first.name, revision) is None


def test_programs_that_make_one_experiment_at_once_all_go_on(api):
    def make(schema: str, number: int) -> str:
        return api.another_process()(
            "CreateContext",
            parent=api.metadata_store,
            context_id=f"{schema.lower().replace('.', '-')}-{number // 4}",
            context={
                "display_name": "same",
                "schema_title": schema,
                "metadata": {"experiment_deleted": False},
            },
        ).name

    with ThreadPoolExecutor(8) as programs:
        made = list(programs.map(lambda number: make("system.Experiment", number), range(16)))
    assert len(made) == 16
    assert len(set(made)) == 4
    make("system.ExperimentRun", 0)
    with pytest.raises(errors.AlreadyExists):  # a run is made by one program only
        make("system.ExperimentRun", 0)


def test_numbers_that_json_lacks_come_back_as_numbers(api):
    """A caller reads a metric that is not a number as a text, and sends back all it has read."""
    made = context(api, {"_metrics": {"loss": math.nan, "top": [math.inf]}, "note": "NaN"})
    for etag in (made.etag, ""):
        spelled = protos.from_json(protos.to_json(made), protos.message("Context")())
        spelled.etag = etag
        spelled.metadata["_state"] = "COMPLETE"
        after = api.over(transport="rest")("UpdateContext", context=spelled)
        kept = api.store.catalog.get(Context, after.name).metadata
        assert math.isnan(kept["_metrics"]["loss"])
        assert kept["_metrics"]["top"] == [math.inf]
        assert kept["note"] == "NaN"


def test_refusals_are_forgotten_after_a_while():
    now = [0.0]
    refusals = Refusals(lambda: now[0])
    answers = [refusals.refuse("a") for _ in range(3)]
    assert answers == [True, False, False]
    assert refusals.refuse("b")
    now[0] = 31.0
    assert refusals.refuse("a")


@given(documents, documents)
def test_one_writer_alone_gets_what_it_sent(base, new):
    assert joined(base, new, base) == new


@given(documents, documents)
def test_who_changes_nothing_changes_nothing(base, current):
    assert joined(base, base, current) == current


@given(documents, st.dictionaries(st.text("xyz", max_size=2), st.integers(), max_size=3))
def test_changes_of_other_keys_both_count(base, added):
    ours = {**base, **{f"ours-{key}": value for key, value in added.items()}}
    theirs = {**base, **{f"theirs-{key}": value for key, value in added.items()}}
    assert joined(base, ours, theirs) == {**base, **ours, **theirs}
