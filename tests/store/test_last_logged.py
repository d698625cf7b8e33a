"""When a run was last written to, as lists show it."""

from pathlib import Path

from tensordeck.store.contract import NO_WALL_TIME
from tests.store.points_place import open_place


def test_the_latest_wall_time_of_each_run_is_known_without_reading_points(tmp_path: Path):
    with open_place(tmp_path) as place:
        place.make_experiment()
        first, second = place.make_run("a", 2)
        other = place.make_run("b", 1)[0]
        place.write(first, [1, 2, 3], [0.0, 0.0, 0.0], wall=1000)
        place.write(second, [1], [0.0], wall=500)
        place.points.fold()

        assert place.points.last_logged([first[0], other[0], 999]) == {
            first[0]: 1003,
            other[0]: NO_WALL_TIME,
            999: NO_WALL_TIME,
        }
        assert place.points.last_logged([]) == {}
