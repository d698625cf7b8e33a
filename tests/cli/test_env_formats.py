"""The environment as shells take it over."""

import json
import os
import subprocess

import pytest

from tensordeck.cli import env_command
from tensordeck.redirect.environment import REMOVED


@pytest.mark.parametrize("value", ["plain", "it's", 'a "b" $c `d` \\ e', "ä\n模型"])
def test_a_shell_reads_back_what_was_meant(value: str):
    text = env_command.FORMATS["sh"]({"VALUE": value})
    script = f'{text}\nprintf %s "$VALUE"; echo; echo "left:$grpc_proxy"'

    out = subprocess.run(
        ["sh", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "grpc_proxy": "x"},
    ).stdout

    assert out == f"{value}\nleft:\n"


def test_each_format_sets_and_removes():
    variables = {"A": "it's"}

    assert json.loads(env_command.FORMATS["json"](variables)) == variables
    assert "set -gx A 'it\\'s'" in env_command.FORMATS["fish"](variables)
    assert "$env:A = 'it''s'" in env_command.FORMATS["powershell"](variables)
    for name in REMOVED:
        assert f"set -e {name}\n" in env_command.FORMATS["fish"](variables)
        assert f"Env:{name} " in env_command.FORMATS["powershell"](variables)
