"""Uploads of real event files to a real server, read back through the API."""

import logging
import shutil
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from tensorboardX import SummaryWriter

from tensordeck import protos
from tensordeck.errors import InvalidArgument, NotFound, Unauthenticated, Unavailable
from tensordeck.ingest.connection import Connection
from tensordeck.ingest.event_files import EventFile, is_event_file
from tensordeck.ingest.log_directory import find_event_files
from tensordeck.ingest.summaries import SummaryDecoder, ValueType
from tensordeck.ingest.uploader import upload
from tests.ingest.reading_back import Reader, create_instance, target_of
from tests.ingest.sample_logs import numbered, points_of, write, write_everything


def test_each_folder_becomes_a_run(logdir, target, reader, positions):
    write(logdir, [1.5, 2.5])
    write(logdir / "eval" / "fold_0", [0.25])
    write(logdir / "eval-fold-0", [4.0])

    done = upload(logdir, "folders", target, positions=positions)

    assert reader.scalars("folders") == {
        "default": {"loss": numbered([1.5, 2.5])},
        "eval/fold_0": {"loss": numbered([0.25])},
        "eval-fold-0": {"loss": numbered([4.0])},
    }
    ids = {name: full.rpartition("/")[2] for name, full in reader.runs("folders").items()}
    assert ids["default"] == "default"
    assert len(set(ids.values())) == 3
    assert (done.files, done.runs, done.series, done.points) == (3, 3, 3, 4)


def test_what_cannot_be_compared_comes_back_too(logdir, target, reader, positions):
    write(logdir, [np.nan, np.inf, -np.inf, -0.0])

    upload(logdir, "odd", target, positions=positions)

    values = [value for _, value in reader.scalars("odd")["default"]["loss"]]
    assert np.array_equal(values, [np.nan, np.inf, -np.inf, -0.0], equal_nan=True)
    assert np.signbit(values[3])


def test_a_second_upload_sends_only_what_is_new(logdir, target, reader, positions):
    write(logdir / "a", range(10))
    first = upload(logdir, "twice", target, positions=positions)
    again = upload(logdir, "twice", target, positions=positions)
    write(logdir / "a", range(5), first_step=10, filename_suffix=".more")
    write(logdir / "b", [7])

    more = upload(logdir, "twice", target, positions=positions)

    assert [first.points, again.points, more.points] == [10, 0, 6]
    assert reader.scalars("twice") == {
        "a": {"loss": numbered([*range(10), *range(5)])},
        "b": {"loss": [(0, 7.0)]},
    }


def test_uploading_again_without_positions_changes_nothing(logdir, target, reader, positions):
    write(logdir / "a", range(10))
    upload(logdir, "idempotent", target, positions=positions)
    before = (reader.runs("idempotent"), reader.scalars("idempotent"))

    done = upload(logdir, "idempotent", target, positions=positions, again=True)

    assert done.points == 10
    assert (reader.runs("idempotent"), reader.scalars("idempotent")) == before


def test_a_run_that_was_deleted_is_sent_again(logdir, target, reader, positions):
    write(logdir / "gone", range(3))
    write(logdir / "stays", range(3))
    upload(logdir, "deleted", target, positions=positions)
    request = protos.message("DeleteTensorboardRunRequest")(name=reader.runs("deleted")["gone"])
    with Connection(target) as connection:
        connection.call("DeleteTensorboardRun", request, "google.longrunning.Operation")

    done = upload(logdir, "deleted", target, positions=positions)

    assert done.points == 3
    assert reader.scalars("deleted") == {
        "gone": {"loss": numbered(range(3))},
        "stays": {"loss": numbered(range(3))},
    }


def test_of_a_repeated_step_the_later_file_wins(logdir, target, reader, positions):
    write(logdir, range(10), filename_suffix=".1")
    first = next(logdir.iterdir())
    first.rename(logdir / "events.out.tfevents.1.host")
    write(logdir, [100, 101], first_step=4)

    upload(logdir, "repeated", target, positions=positions)

    expected = dict(numbered(range(10))) | {4: 100.0, 5: 101.0}
    assert reader.scalars("repeated")["default"]["loss"] == sorted(expected.items())


def test_many_points_take_several_requests(logdir, target, reader, positions):
    rng = np.random.default_rng(3)
    values = rng.normal(size=12_000)
    write(logdir, values)

    upload(logdir, "many", target, positions=positions)

    assert reader.scalars("many")["default"]["loss"] == numbered(values)


def test_every_kind_of_series_arrives_with_its_plugin(logdir, target, reader, positions):
    write_everything(logdir)
    upload(logdir, "kinds", target, positions=positions)

    runs = reader.runs("kinds")
    checked = 0
    for run, path in find_event_files(logdir):
        stored = reader.series(runs[run])
        for point in points_of(EventFile(path), SummaryDecoder(run)):
            series = stored[point.series.tag]
            assert series.plugin_name == point.series.plugin_name
            assert series.plugin_data == point.series.plugin_data
            assert series.value_type == point.series.value_type
            (found,) = [p for p in reader.points(series.name) if p.step == point.step]
            assert found.wall_time.ToNanoseconds() == pytest.approx(point.wall_time * 1e9, abs=1e3)
            if point.series.value_type is ValueType.TENSOR:
                assert found.tensor.value == point.value
            elif point.series.value_type is ValueType.BLOB_SEQUENCE:
                assert len(found.blobs.values) == len(point.value)
            checked += 1
    assert checked > 30


def test_a_corrupt_file_does_not_keep_others_back(logdir, target, reader, positions, caplog):
    write(logdir / "bad", range(10))
    write(logdir / "good", range(10))
    (logdir / "empty").mkdir()
    (logdir / "empty" / "events.out.tfevents.0.host").touch()
    bad = next(path for path in (logdir / "bad").iterdir() if is_event_file(path.name))
    data = bytearray(bad.read_bytes())
    data[len(data) // 2] ^= 0xFF
    bad.write_bytes(data)

    with caplog.at_level(logging.WARNING):
        upload(logdir, "corrupt", target, positions=positions)

    scalars = reader.scalars("corrupt")
    assert scalars["good"]["loss"] == numbered(range(10))
    assert scalars["bad"]["loss"] == numbered(range(len(scalars["bad"]["loss"])))
    assert "empty" not in scalars
    assert str(bad) in caplog.text


def test_a_tag_of_two_kinds_keeps_the_first(logdir, target, reader, positions, caplog):
    write(logdir, [1.0], tag="x")
    upload(logdir, "kinds-clash", target, positions=positions)
    with SummaryWriter(str(logdir), filename_suffix=".more") as writer:
        writer.add_histogram("x", np.arange(5.0), 1)
        writer.add_scalar("y", 2.0, 1)

    with caplog.at_level(logging.WARNING):
        upload(logdir, "kinds-clash", target, positions=positions)

    assert reader.scalars("kinds-clash")["default"] == {"x": [(0, 1.0)], "y": [(1, 2.0)]}
    assert "'x'" in caplog.text


class Following:
    """An upload that follows a directory, in a thread."""

    def __init__(self, logdir, experiment, target, positions):
        self._stop = threading.Event()
        self._news = threading.Condition()
        self.points = 0
        self.error = None
        self._thread = threading.Thread(
            target=self._run, args=(logdir, experiment, target, positions)
        )
        self._thread.start()

    def _run(self, logdir, experiment, target, positions):
        try:
            upload(
                logdir,
                experiment,
                target,
                follow=True,
                progress=self._tell,
                stop=self._stop,
                poll_seconds=0.05,
                positions=positions,
            )
        except Exception as error:  # noqa: BLE001 -- handed to the test
            self.error = error

    def _tell(self, progress):
        with self._news:
            self.points = progress.points
            self._news.notify_all()

    def wait_for(self, points):
        with self._news:
            assert self._news.wait_for(lambda: self.points >= points, timeout=60)

    def end(self):
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        if self.error:
            raise self.error


@pytest.fixture
def follow(positions):
    started = []

    def start(logdir, experiment, target):
        started.append(Following(logdir, experiment, target, positions))
        return started[-1]

    yield start
    for following in started:
        following.end()


def test_following_sees_growth_rotation_and_late_folders(logdir, target, reader, follow):
    following = follow(logdir, "follow", target)  # the directory does not exist yet
    write(logdir / "first", range(3))
    following.wait_for(3)
    write(logdir / "first", range(3), first_step=3, filename_suffix=".rotated")
    following.wait_for(6)
    write(logdir / "late" / "deep", range(2))
    following.wait_for(8)
    write(logdir / "last", [1])
    following.end()

    assert reader.scalars("follow") == {
        "first": {"loss": numbered([0, 1, 2, 0, 1, 2])},
        "late/deep": {"loss": numbered(range(2))},
        "last": {"loss": [(0, 1.0)]},
    }


def test_following_outlives_the_server(fresh_server, logdir, follow):
    target = create_instance(target_of(fresh_server))
    following = follow(logdir, "outage", target)
    write(logdir / "a", range(5))
    following.wait_for(5)
    fresh_server.kill()
    write(logdir / "a", range(5), first_step=5, filename_suffix=".more")
    fresh_server.start()
    following.wait_for(10)
    following.end()

    assert Reader(target).scalars("outage") == {"a": {"loss": numbered([0, 1, 2, 3, 4] * 2)}}


def test_several_uploads_of_one_directory_at_once(logdir, target, reader, tmp_path):
    for name in "abcd":
        write(logdir / name, range(50))

    with ThreadPoolExecutor(4) as pool:
        uploads = [
            pool.submit(upload, logdir, "race", target, positions=tmp_path / f"positions-{number}")
            for number in range(4)
        ]
        points = [one.result().points for one in uploads]

    assert points == [200] * 4
    assert reader.scalars("race") == {name: {"loss": numbered(range(50))} for name in "abcd"}


def test_a_copied_directory_is_a_new_one(logdir, tmp_path, target, reader, positions):
    write(logdir, range(3))
    upload(logdir, "copied", target, positions=positions)
    shutil.copytree(logdir, tmp_path / "copy")

    assert upload(tmp_path / "copy", "copied", target, positions=positions).points == 3
    assert reader.scalars("copied")["default"]["loss"] == numbered(range(3))


def test_a_missing_directory_is_told(tmp_path, target, positions):
    with pytest.raises(InvalidArgument, match="is not a directory"):
        upload(tmp_path / "nowhere", "x", target, positions=positions)


def test_a_missing_instance_is_told(logdir, target, positions):
    write(logdir, [1])
    gone = replace(target, tensorboard="projects/ingest/locations/us-central1/tensorboards/404")

    with pytest.raises(NotFound, match="404"):
        upload(logdir, "x", gone, positions=positions)


def test_a_bad_experiment_id_is_told(logdir, target, positions):
    write(logdir, [1])

    with pytest.raises(InvalidArgument, match="experiment"):
        upload(logdir, "not an id", target, positions=positions)


def test_a_server_that_is_away_is_told(logdir, target, positions):
    write(logdir, [1])
    with socket.socket() as silent:  # bound, but not listening
        silent.bind(("127.0.0.1", 0))
        url = "http://{}:{}".format(*silent.getsockname())

        with pytest.raises(Unavailable, match=url):
            upload(logdir, "x", replace(target, url=url), positions=positions, patience=0.5)


def test_foreign_credentials_are_told(logdir, tmp_path, target, positions):
    write(logdir, [1])
    other = tmp_path / "other.json"
    other.write_text(
        '{"type": "authorized_user", "client_id": "a", "client_secret": "b", "refresh_token": "c"}'
    )

    with pytest.raises(Unauthenticated, match="credentials"):
        upload(logdir, "x", replace(target, credentials=other), positions=positions)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"type": "authorized_user"}', "\x00"])
def test_a_bad_credentials_file_is_told(logdir, tmp_path, target, positions, content):
    write(logdir, [1])
    bad = tmp_path / "bad.json"
    bad.write_text(content)

    with pytest.raises(InvalidArgument, match=r"bad\.json"):
        upload(logdir, "x", replace(target, credentials=bad), positions=positions)
