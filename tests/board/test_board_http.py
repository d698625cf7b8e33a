"""The board over HTTP: who gets in, where addresses lead, what is sent again."""

import json

import httpx
import numpy as np
import pytest
import zstandard
from msgspec.structs import replace

from tensordeck.access import SESSION_COOKIE
from tensordeck.names import board_id
from tensordeck.store.contract import ScalarColumns, SeriesPoints
from tensordeck.store.resources import Experiment, Run, TimeSeries
from tests.board.board_house import INSTANCE
from tests.board.board_logs import load_logs, write_scalars

DATA = "data/plugin/timeseries/timeSeries"


@pytest.fixture(scope="module")
def experiment(house, tmp_path_factory):
    """An experiment with two runs of scalars."""
    logs = tmp_path_factory.mktemp("scalars")
    write_scalars(logs)
    name = house.experiment("scalars", display_name="Scalars & more")
    load_logs(house.store, name, logs)
    return name


@pytest.fixture
def owner(house):
    with house.client() as client:
        yield client


@pytest.fixture
def stranger(house):
    with house.client(signed_in=False) as client:
        yield client


def add_point(house, run, step, value, tag="loss"):
    series = house.store.catalog.list(TimeSeries, run.name, page_size=1000).items
    record = next(s for s in series if s.display_name == tag)
    wall = np.array([2_000_000_000 * 10**9])
    columns = ScalarColumns(np.array([step]), wall, np.array([value]))
    house.store.points.append([SeriesPoints(record.pk, run.pk, columns)])


def first_run(house, experiment):
    return house.store.catalog.list(Run, experiment, page_size=10).items[0]


def chart(client, path, **request):
    form = {"requests": json.dumps([{"plugin": "scalars", **request}])}
    return client.post(path + DATA, data=form)


# Who ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "inner", ["", "data/runs", "data/plugins_listing", "data/plugin/images/tags", "live"]
)
def test_nothing_of_a_board_is_shown_to_a_stranger(house, experiment, stranger, inner):
    reply = stranger.get(house.path(experiment) + inner)
    assert reply.status_code == 401
    assert "run_0" not in reply.text


def test_a_stranger_learns_how_to_sign_in(house, experiment, stranger):
    reply = stranger.get(house.path(experiment))
    assert reply.headers["content-type"].startswith("text/html")
    assert f"tensordeck open {experiment}" in reply.text


def test_a_forged_cookie_and_a_bad_token_are_refused(house, experiment):
    path = house.url + house.path(experiment) + "data/runs"
    assert httpx.get(path, cookies={SESSION_COOKIE: house.cookie + "x"}).status_code == 401
    assert httpx.get(path, headers={"authorization": "Bearer nonsense"}).status_code == 401


def test_another_experiment_in_a_header_changes_nothing(house, experiment, owner):
    other = house.experiment("secret-of-others")
    house.store.catalog.create(Run(name=f"{other}/runs/secret", display_name="secret"))
    for header in ("TensorBoard-Experiment-Id", "tensorboard_experiment_id"):
        for path in ("data/runs", "data/plugin/hparams/experiment", "data/experiment_runs"):
            options = {"method": "POST", "json": {}} if "hparams" in path else {"method": "GET"}
            reply = owner.request(
                **options,
                url=house.path(experiment) + path,
                headers={header: board_id(other)},
            )
            assert reply.status_code == 200
            assert "secret" not in reply.text


def test_a_blob_of_another_experiment_is_not_on_this_board(house, experiment, owner, tmp_path):
    from tests.board.board_logs import write_everything

    write_everything(tmp_path / "a", 1)
    other = house.experiment("with-images")
    load_logs(house.store, other, tmp_path)
    request = json.dumps([{"plugin": "images", "tag": "digits", "run": "a", "sample": 0}])
    listed = owner.post(house.path(other) + DATA, data={"requests": request}).json()
    key = listed[0]["runToSeries"]["a"][0]["imageId"]
    path = f"data/plugin/timeseries/imageData?imageId={key}"
    assert owner.get(house.path(other) + path).headers["content-type"] == "image/png"
    assert owner.get(house.path(experiment) + path).status_code == 404
    both = house.path(experiment, other, aliases=("a", "b"))
    assert owner.get(both + path).status_code == 200


# Pages --------------------------------------------------------------------------------------


def test_a_page_counts_as_a_view_and_its_data_does_not(house, experiment, owner):
    def views():
        return sum(n for month in house.store.catalog.views(INSTANCE).values() for _, n in month)

    before = views()
    assert owner.get(house.path(experiment)).status_code == 200
    owner.get(house.path(experiment) + "data/runs")
    owner.head(house.path(experiment))
    assert views() == before + 1


def test_a_page_loads_nothing_from_elsewhere(house, experiment, owner):
    page = owner.get(house.path(experiment))
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert 'content="../../"' in page.text
    assert "url(/font" not in page.text


def test_an_unknown_experiment_is_told_how_it_comes_to_be(house, owner):
    house.experiment("exists-already")
    reply = owner.get(house.path(f"{INSTANCE}/experiments/not-yet"))
    assert reply.status_code == 404
    assert "tensordeck upload ./logs --experiment not-yet --tensorboard 42" in reply.text
    assert owner.get(house.path(f"{INSTANCE}/experiments/x") + "data/runs").json()["error"] == {
        "code": 404,
        "message": f"There is no experiment {INSTANCE}/experiments/x.",
        "status": "NOT_FOUND",
    }


@pytest.mark.parametrize("path", ["/experiment/nonsense/", "/compare/a:b/", "/experiment//"])
def test_an_address_that_names_nothing_has_a_page_that_says_so(owner, path):
    reply = owner.get(path)
    assert reply.status_code in (400, 404)
    assert "There is no board at this address" in reply.text


def test_forms_of_addresses_lead_to_the_board(house, experiment, owner):
    path = house.path(experiment)
    for other in (path[:-1], f"/experiment/{experiment}", path.replace("+", "%2B")):
        reply = owner.get(other, params={"darkMode": "true"})
        assert (reply.status_code, reply.headers["location"]) == (302, path + "?darkMode=true")


def test_files_are_compressed_once_and_kept_for_ever(house, experiment, owner):
    page = owner.get(house.path(experiment)).text
    address = page.partition('<script src="../..')[2].partition('"')[0]
    plain = owner.get(address, headers={"accept-encoding": "identity"})
    assert "immutable" in plain.headers["cache-control"]
    assert plain.text.count('path:"/experiment/:experimentId/"') == 1
    assert plain.text.count('path:"/compare/:experimentIds/"') == 1
    for encoding in ("gzip", "zstd"):
        packed = owner.get(address, headers={"accept-encoding": encoding})
        assert packed.headers["content-encoding"] == encoding
        assert packed.content == plain.content
    worker = owner.get(house.path(experiment) + "chart_worker.js?_file_hash=1")
    target = httpx.URL(house.url + house.path(experiment)).join(worker.headers["location"])
    assert owner.get(target).status_code == 200
    assert owner.get("/board/assets/old/index.js").headers["location"] == address
    assert owner.get("/board/assets/old/no-such-file").status_code == 404


# Data ---------------------------------------------------------------------------------------


def test_unchanged_data_is_not_sent_again_and_changed_data_is(house, experiment, owner):
    run = first_run(house, experiment)
    ours = ("data/runs", "data/plugin/scalars/scalars?tag=loss&run=run_0/train")
    for path in (*ours, "data/plugin/histograms/tags"):
        address = house.path(experiment) + path
        tag = owner.get(address).headers["etag"]
        assert owner.get(address, headers={"if-none-match": tag}).status_code == 304
        add_point(house, run, 1000, 1.0)
        fresh = owner.get(address, headers={"if-none-match": tag})
        assert fresh.status_code == 200
        assert fresh.headers["etag"] != tag
        assert fresh.headers["cache-control"] == "private, no-cache"


def test_a_chart_shows_a_point_as_soon_as_it_is_written(house, experiment, owner):
    run = first_run(house, experiment)
    path = house.path(experiment)
    for value in (3.0, 4.0):
        add_point(house, run, 2000, value)
        shown = chart(owner, path, tag="loss").json()[0]["runToSeries"]["run_0/train"]
        assert shown[-1] == {"wallTime": 2e9, "step": 2000, "value": value}


def test_renaming_and_deleting_show_at_once(house, owner):
    name = house.experiment("changing", description="first")
    catalog = house.store.catalog
    for run in ("a", "b"):
        catalog.create(Run(name=f"{name}/runs/{run}", display_name=run))
    path = house.path(name) + "data/"
    assert owner.get(path + "runs").json() == ["a", "b"]
    catalog.update(Run, f"{name}/runs/a", lambda run: replace(run, display_name="ü 🙂"))
    assert owner.get(path + "runs").json() == ["ü 🙂", "b"]
    catalog.delete(Run, f"{name}/runs/b")
    assert owner.get(path + "runs").json() == ["ü 🙂"]
    catalog.update(Experiment, name, lambda e: replace(e, description="second"))
    assert owner.get(path + "environment").json()["experiment_description"] == "second"
    catalog.delete(Experiment, name)
    assert owner.get(path + "runs").status_code == 404


def test_long_series_keep_their_ends_and_peaks_and_downloads_keep_all(house, owner):
    name = house.experiment("long")
    catalog = house.store.catalog
    run = catalog.create(Run(name=f"{name}/runs/r", display_name="r"))
    series = catalog.create(TimeSeries(name=f"{run.name}/timeSeries/1", display_name="loss"))
    values = np.zeros(50_000)
    values[12_345] = 9.0
    steps = np.arange(50_000)
    columns = ScalarColumns(steps, steps * 10**9, values)
    house.store.points.append([SeriesPoints(series.pk, run.pk, columns)])
    shown = chart(owner, house.path(name), tag="loss").json()[0]["runToSeries"]["r"]
    assert len(shown) <= 1000
    assert [shown[0]["step"], shown[-1]["step"]] == [0, 49_999]
    assert max(point["value"] for point in shown) == 9.0
    path = house.path(name) + "data/plugin/scalars/scalars?tag=loss&run=r"
    assert len(owner.get(path).json()) == len(shown)
    lines = owner.get(path + "&format=csv").text.splitlines()
    assert lines[0] == "Wall time,Step,Value"
    assert len(lines) == 50_001


def test_answers_come_in_the_encoding_that_the_browser_takes(house, experiment, owner):
    form = {"requests": json.dumps([{"plugin": "scalars", "tag": "loss"}])}
    plain = owner.post(
        house.path(experiment) + DATA, data=form, headers={"accept-encoding": "identity"}
    )
    with owner.stream(
        "POST", house.path(experiment) + DATA, data=form, headers={"accept-encoding": "zstd"}
    ) as packed:
        body = b"".join(packed.iter_raw())
    assert packed.headers["content-encoding"] == "zstd"
    assert zstandard.ZstdDecompressor().decompressobj().decompress(body) == plain.content


def test_compared_experiments_answer_as_one(house, experiment, owner):
    other = house.experiment("scalars-2")
    run = house.store.catalog.create(Run(name=f"{other}/runs/r", display_name="r"))
    assert run.pk
    path = house.path(experiment, other, aliases=("one", "two"))
    runs = owner.get(path + "data/runs").json()
    assert runs == ["[1] one/run_0/train", "[1] one/run_1/train", "[2] two/r"]
    assert owner.get(path + "data/environment").json()["window_title"].startswith("Compare ")
    shown = chart(owner, path, tag="odd/values").json()[0]["runToSeries"]
    assert set(shown) == {"[1] one/run_0/train", "[1] one/run_1/train"}


# Bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "options"),
    [
        (DATA, {"data": {}}),
        (DATA, {"data": {"requests": "{"}}),
        (DATA, {"data": {"requests": '["a"]'}}),
        (DATA, {"data": {"requests": '{"plugin": 1}'}}),
        (DATA, {"content": b"x", "headers": {"content-type": "multipart/form-data"}}),
        (DATA, {"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=b"}}),
        ("data/plugin/scalars/scalars_multirun", {"data": {"runs": "a"}}),
        ("data/plugin/scalars/scalars_multirun", {"data": {"tag": ["a", "b"]}}),
        ("data/plugin/scalars/scalars?tag=a", {}),
        ("data/plugin/images/images?run=a&tag=b&sample=x", {}),
        ("data/plugin/timeseries/imageData?imageId=zzz", {}),
        ("data/plugin/timeseries/imageData", {}),
        ("data/plugin/histograms/histograms", {}),
        ("data/plugin/graphs/graph?run=a&limit_attr_size=x", {}),
        ("data/plugin/hparams/session_groups", {"content": b"nonsense"}),
        ("data/plugin/hparams/session_groups", {"json": {"colParams": "x"}}),
        ("data/plugin/pr_curves/pr_curves", {}),
        ("data/plugin/mesh/data", {}),
        ("data/plugin/nothing/at-all", {}),
        (DATA, {"content": b"x" * (9 << 20)}),
    ],
)
def test_bad_requests_are_told_so(house, experiment, owner, path, options):
    method = "POST" if options else "GET"
    reply = owner.request(method, house.path(experiment) + path, **options)
    assert 400 <= reply.status_code < 500, reply.text
    assert "Traceback" not in reply.text


def test_other_methods_are_refused(house, experiment, owner):
    reply = owner.delete(house.path(experiment) + "data/runs")
    assert (reply.status_code, reply.headers["allow"]) == (405, "GET, HEAD, POST")


def test_unreadable_plugin_data_hides_that_series_only(house, owner):
    name = house.experiment("odd-metadata")
    run = house.store.catalog.create(Run(name=f"{name}/runs/r", display_name="r"))
    for number, content in enumerate((b"", b"\xff\xff", b"\x08\x63")):  # the last: version 99
        house.store.catalog.create(
            TimeSeries(
                name=f"{run.name}/timeSeries/{number}",
                display_name=f"tag-{number}",
                plugin_name="scalars",
                plugin_data=content,
            )
        )
    reply = owner.get(house.path(name) + "data/plugin/scalars/tags")
    assert list(reply.json()["r"]) == ["tag-0"]


# Live ---------------------------------------------------------------------------------------


def test_events_tell_of_new_points_and_of_nothing_else(house, experiment, owner):
    run = first_run(house, experiment)
    with owner.stream("GET", house.path(experiment) + "live") as events:
        assert events.headers["content-type"].startswith("text/event-stream")
        states = (line.partition("data: ")[2] for line in events.iter_lines() if "data: " in line)
        first = next(states)
        page = owner.get(house.path(experiment)).text
        assert f'name="tensordeck-state" content="{first}"' in page
        add_point(house, run, 3000, 1.0)
        assert next(states) != first
