"""The method table agrees with itself, with the messages and with the services."""

import importlib
import re

import pytest
from google.cloud.aiplatform_v1.services.metadata_service import MetadataServiceClient
from google.cloud.aiplatform_v1.services.tensorboard_service import TensorboardServiceClient

from tensordeck import protos
from tensordeck.front.method import VERSIONS, Method
from tensordeck.front.methods import METHODS
from tests.front.paths import example

PL = "projects/p/locations/us-central1"


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
def test_request_has_the_fields_of_its_rules(method: Method) -> None:
    descriptor = protos.message(method.request).DESCRIPTOR
    for path in [method.resource, *(r.body for r in method.http if r.body not in ("", "*"))]:
        fields = descriptor.fields_by_name
        for part in path.split("."):
            assert part in fields, f"{method.name}: {path}"
            inner = fields[part].message_type
            fields = inner.fields_by_name if inner else {}


def test_every_tensorboard_rpc_of_the_client_is_there() -> None:
    transport = TensorboardServiceClient.get_transport_class()
    ours = {m.attribute for m in METHODS if m.service == "TensorboardService"}
    rpcs = {
        name
        for name in vars(transport)
        if "tensorboard" in name and not name.startswith("_") and name != "transport"
    }

    assert len(ours) == 30
    assert rpcs <= ours


def test_every_metadata_rpc_of_the_client_is_there() -> None:
    transport = MetadataServiceClient.get_transport_class()
    verbs = (
        "create_",
        "get_",
        "list_",
        "update_",
        "delete_",
        "purge_",
        "add_",
        "remove_",
        "query_",
    )
    rpcs = {name for name in vars(transport) if name.startswith(verbs)}
    mixins = {m.attribute for m in METHODS if "." in m.service}

    ours = {m.attribute for m in METHODS if m.service == "MetadataService"}

    assert rpcs - mixins - {"create_channel"} <= ours


@pytest.mark.parametrize(
    "method", [method for method in METHODS if method.versioned], ids=lambda m: m.name
)
def test_the_client_s_own_routes_are_among_the_rules(method: Method) -> None:
    module = re.sub(r"(?<!^)(?=[A-Z])", "_", method.service).lower()
    transports = f"google.cloud.aiplatform_v1.services.{module}.transports.rest_base"
    transport = getattr(importlib.import_module(transports), f"_Base{method.service}RestTransport")
    call = getattr(transport, f"_Base{method.name}")
    ours = [(r.verb.lower(), r.template.replace("{v}", "v1"), r.body) for r in method.http]

    assert ours[0] in [
        (option["method"], option["uri"], option.get("body", ""))
        for option in call._get_http_options()
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_an_example_path_of_each_rule_reaches_that_rule_first(version: str) -> None:
    rules = [(m, r) for m in METHODS for r in m.http]
    for method, rule in rules:
        path = example(rule, version)
        first = next(
            m for m, r in rules if r.verb == rule.verb and r.pattern(version).fullmatch(path)
        )
        assert first.name == method.name, path


def test_services_have_every_method_of_the_table(api) -> None:
    missing = []
    for method in METHODS:
        if not api.dispatcher.serves(method):
            missing.append(method.service)
            continue
        try:
            api.dispatcher.handler(method)
        except AttributeError:
            missing.append(method.name)

    assert missing == []
