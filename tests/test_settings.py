"""Where a setting comes from."""

from pathlib import Path

import pytest

from tensordeck.errors import InvalidArgument
from tensordeck.settings import Settings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tensordeck.toml"
    path.write_text(
        'port = 7003\nhost = "10.0.0.3"\nlog-level = "debug"\nserver_names = ["a", "b"]\n'
    )
    return path


def test_the_command_line_wins_over_the_environment_over_the_file_over_the_default(file: Path):
    environ = {"TENSORDECK_PORT": "7002", "TENSORDECK_HOST": "10.0.0.2"}

    settings = Settings.load({"port": 7001, "host": None}, environ, file)

    assert settings.port == 7001
    assert settings.host == "10.0.0.2"
    assert settings.log_level == "debug"
    assert settings.server_names == ("a", "b")
    assert settings.data_dir == Path("tensordeck-data")


def test_an_empty_variable_says_nothing(file: Path):
    assert Settings.load({}, {"TENSORDECK_PORT": ""}, file).port == 7003


def test_text_is_read_as_the_setting_s_type(tmp_path: Path):
    environ = {
        "TENSORDECK_DATA_DIR": "/data",
        "TENSORDECK_SERVER_NAMES": "a,b",
        "TENSORDECK_DRAIN_SECONDS": "1.5",
    }

    settings = Settings.load({}, environ, tmp_path / "none")

    assert settings.data_dir == Path("/data")
    assert settings.server_names == ("a", "b")
    assert settings.drain_seconds == 1.5


@pytest.mark.parametrize(
    ("environ", "text", "told"),
    [
        ({"TENSORDECK_PORT": "many"}, "", "TENSORDECK_PORT"),
        ({"TENSORDECK_PORT": "70000"}, "", "TENSORDECK_PORT.*0 to 65535"),
        ({"TENSORDECK_DRAIN_SECONDS": "nan"}, "", "at least 0"),
        ({"TENSORDECK_LOG_LEVEL": "loud"}, "", "debug, info"),
        ({}, "port = 'many'", "tensordeck.toml"),
        ({}, "colour = 'blue'", "unknown setting colour"),
        ({}, "port = ", "tensordeck.toml"),
    ],
)
def test_a_mistake_is_told_with_its_place(
    tmp_path: Path, environ: dict[str, str], text: str, told: str
):
    file = tmp_path / "tensordeck.toml"
    file.write_text(text)

    with pytest.raises(InvalidArgument, match=told):
        Settings.load({}, environ, file)
