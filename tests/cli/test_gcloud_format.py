"""The built-in gcloud's output."""

import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tensordeck.cli.gcloud_format import render
from tensordeck.errors import InvalidArgument

TEXTS = st.text(max_size=20)
RESOURCE = {
    "name": "projects/p/locations/l/tensorboards/1",
    "createTime": "2026-01-31T12:00:00Z",
    "labels": {"env": "dev", "n": "1"},
    "isDefault": True,
    "displayName": "it's: x",
}


def test_yaml_is_sorted_and_quotes_what_yaml_would_misread():
    assert render([RESOURCE], "", as_list=False) == (
        "createTime: '2026-01-31T12:00:00Z'\n"
        "displayName: 'it''s: x'\n"
        "isDefault: true\n"
        "labels:\n"
        "  env: dev\n"
        "  n: '1'\n"
        "name: projects/p/locations/l/tensorboards/1\n"
    )


@settings(deadline=None)  # the first call imports the writer
@given(
    st.dictionaries(
        st.from_regex(r"[a-zA-Z]{1,8}", fullmatch=True),
        TEXTS
        | st.booleans()
        | st.integers()
        | st.lists(TEXTS | st.dictionaries(TEXTS, TEXTS, max_size=2), max_size=2)
        | st.dictionaries(TEXTS, TEXTS, max_size=2),
        max_size=4,
    )
)
def test_a_yaml_reader_gets_back_what_was_there(resource: dict[str, object]):
    assert (yaml.safe_load(render([resource], "yaml", as_list=False)) or {}) == resource


def test_lists_and_scripts_stand_as_gcloud_prints_them():
    job = {"pools": [{"command": ["python", "-c", "import sys\nprint(1)"], "count": "1"}]}

    assert render([job], "", as_list=False) == (
        "pools:\n"
        "- command:\n"
        "  - python\n"
        "  - -c\n"
        "  - |-\n"
        "    import sys\n"
        "    print(1)\n"
        "  count: '1'\n"
    )


def test_json_and_chosen_values():
    assert json.loads(render([RESOURCE], "json", as_list=True)) == [RESOURCE]
    assert json.loads(render([RESOURCE], "json", as_list=False)) == RESOURCE
    assert (
        render([RESOURCE], "value(name.basename(), labels.env,none)", as_list=True) == "1\tdev\t\n"
    )


def test_other_formats_are_left_to_the_real_gcloud():
    with pytest.raises(InvalidArgument, match="table"):
        render([RESOURCE], "table(name)", as_list=True)
