"""What all commands share: help, failing in one line, being light."""

import subprocess
import sys
from pathlib import Path

import pytest

from tensordeck import __version__
from tensordeck.cli import main

HEAVY = ("google", "grpc", "sqlalchemy", "starlette", "uvicorn", "numpy", "rich", "tensorboard")


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["serve", "--help"], ["keys", "--help"], ["upload", "--help"], ["exec", "--help"]],
)
def test_help_loads_nothing_heavy(arguments: list[str]):
    code = (
        "import sys, contextlib\n"
        "before = set(sys.modules)\n"
        "from tensordeck.cli import main\n"
        "with contextlib.suppress(SystemExit): main(sys.argv[1:])\n"
        f"heavy = [name for name in {HEAVY} if name in set(sys.modules) - before]\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "usage: tensordeck" in done.stdout.lower()


@pytest.mark.parametrize("arguments", [["exec", "--", "true"], ["env"], ["serve"]])
def test_what_stands_before_scripts_and_answers_does_not_even_load_typer(
    arguments: list[str], tmp_path: Path
):
    no_folder = tmp_path / "file" / "data"
    no_folder.parent.write_text("")
    command = [arguments[0], "--data-dir", str(no_folder), *arguments[1:]]
    code = (
        "import sys\n"
        "from tensordeck.cli import main\n"
        f"status = main({command})\n"
        "sys.exit('typer' if 'typer' in sys.modules else status + 40)\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 41, done.stderr


def test_it_tells_its_version(capsys: pytest.CaptureFixture[str]):
    assert main(["--version"]) == 0

    assert capsys.readouterr().out == f"tensordeck {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"],
        ["serve", "--port", "many"],
        ["serve", "--port", "70000"],
        ["serve", "x"],
        ["upload"],
    ],
)
def test_a_command_line_that_makes_no_sense_ends_with_2(arguments: list[str]):
    assert main(arguments) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["env"],
        ["exec", "--", "true"],
        ["open"],
        ["upload", ".", "--experiment", "e", "--tensorboard", "1"],
        ["export", "projects/p", "-o", "x.csv"],
        ["sign-in"],
        ["keys", "list"],
        ["keys", "create", "me"],
        ["keys", "revoke", "x"],
    ],
)
def test_without_a_server_every_command_says_so_in_one_line(
    arguments: list[str],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    folder = tmp_path_factory.mktemp("empty")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("TENSORDECK_DATA_DIR", raising=False)

    assert main(arguments) == 1

    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert told.startswith("tensordeck: There is no ")
    assert "tensordeck serve" in told
    assert "--data-dir" in told
    assert not list(folder.iterdir())
