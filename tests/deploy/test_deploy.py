"""What lies in deploy/: tools that know the formats accept it, and it fits the server."""

import json
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from tensordeck.front.metrics import server_families
from tensordeck.front.tls import ensure_certificates
from tensordeck.settings import Settings
from tensordeck.store import open_store
from tensordeck.telemetry.call_measures import CallMeasures
from tensordeck.telemetry.families import Exposition

DEPLOY = Path(__file__).parents[2] / "deploy"
SCRIPTS = Path(sysconfig.get_path("scripts"))
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file())
MANIFESTS = [
    path for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")) if path.stem != "kustomization"
]
KUBERNETES = "1.33"


def run(*command: object, **more: object) -> str:
    """Runs a linter; what it says goes into the failure."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, **more
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def documents(path: Path) -> list[dict]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def by_kind(kind: str) -> list[dict]:
    return [found for path in MANIFESTS for found in documents(path) if found["kind"] == kind]


def needs(program: str) -> str:
    found = shutil.which(program)
    if not found:
        pytest.skip(f"{program} is not installed")
    return found


# -- what linters say --------------------------------------------------------------------------


def test_every_yaml_file_is_tidy():
    run(SCRIPTS / "yamllint", "--strict", "-c", DEPLOY / ".yamllint.yaml", DEPLOY)


def test_the_dockerfile_has_nothing_that_hadolint_minds():
    run(SCRIPTS / "hadolint", DEPLOY / "Dockerfile")


def test_the_compose_file_fits_the_compose_specification():
    file = DEPLOY / "compose" / "compose.yaml"
    run(SCRIPTS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", file)


def test_manifests_fit_kubernetes_own_schemas():
    run(SCRIPTS / "kubernetes-validate", "-k", KUBERNETES, "--strict", *MANIFESTS)


def test_the_kustomization_can_be_built():
    built = run(needs("kubectl"), "kustomize", DEPLOY / "kubernetes")

    kinds = sorted(document["kind"] for document in yaml.safe_load_all(built))
    assert kinds == [
        "ConfigMap",
        "Deployment",
        "HorizontalPodAutoscaler",
        "Namespace",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Service",
        "Service",
        "ServiceAccount",
    ]
    assert "image: registry.example.com/tensordeck:" in built
    assert "image: tensordeck\n" not in built


def test_the_kustomization_names_every_manifest():
    [listed] = documents(DEPLOY / "kubernetes" / "kustomization.yaml")

    assert sorted(listed["resources"]) == [path.name for path in MANIFESTS]


def test_systemd_accepts_the_unit_and_finds_it_confined(tmp_path):
    systemd = needs("systemd-analyze")
    text = (DEPLOY / "systemd" / "tensordeck.service").read_text()
    unit = tmp_path / "tensordeck.service"
    unit.write_text(text.replace("/opt/tensordeck/bin/tensordeck", sys.executable))

    run(systemd, "verify", unit)
    rated = run(systemd, "security", "--offline=yes", "--threshold=20", unit)

    assert "Overall exposure level for tensordeck.service" in rated


def test_promtool_accepts_configuration_and_rules_and_the_rules_fire_when_they_should():
    promtool = needs("promtool")

    run(promtool, "check", "config", "--syntax-only", DEPLOY / "prometheus" / "prometheus.yml")
    run(promtool, "check", "rules", DEPLOY / "prometheus" / "alerts.yml")
    run(promtool, "test", "rules", "alerts_test.yml", cwd=DEPLOY / "prometheus")


# -- that it fits the server -------------------------------------------------------------------


def test_every_setting_that_is_used_exists():
    known = {Settings.variable(field.name) for field in fields(Settings)}
    used = {
        name for path in FILES for name in re.findall(r"\bTENSORDECK_[A-Z_]+", path.read_text())
    }

    assert used
    assert used <= known


def test_every_option_that_is_used_exists():
    known = {f"--{field.name.replace('_', '-')}" for field in fields(Settings)}
    used = {
        option
        for path in FILES
        if path.suffix in (".yml", ".yaml", ".service", ".cfg")
        for line in path.read_text().splitlines()
        if "tensordeck" in line.lower() or "metrics" in line
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", line)
    } - {"--kustomize", "--build", "--username"}

    assert used
    assert used <= known


def values() -> Iterator[tuple[str, str]]:
    """Settings and their values in files of `NAME=value` lines."""
    for path in (DEPLOY / "kubernetes" / "settings.env", DEPLOY / "systemd" / "tensordeck.env"):
        for line in path.read_text().splitlines():
            name, equals, value = line.lstrip("#").partition("=")
            if equals and name.startswith("TENSORDECK_"):
                yield name, value


@pytest.mark.parametrize(("name", "value"), list(values()))
def test_every_value_is_one_that_its_setting_takes(name, value):
    Settings.read(name.removeprefix("TENSORDECK_").lower(), value)


def test_the_time_to_stop_is_longer_than_the_drain():
    settings = dict(
        line.split("=", 1) for line in (DEPLOY / "kubernetes" / "settings.env").read_text().split()
    )
    [deployment] = by_kind("Deployment")
    pod = deployment["spec"]["template"]["spec"]

    drain = float(settings["TENSORDECK_DRAIN_SECONDS"])
    delay = float(settings["TENSORDECK_DRAIN_DELAY_SECONDS"])
    [server] = pod["containers"]
    probe = server["readinessProbe"]

    assert pod["terminationGracePeriodSeconds"] >= delay + drain + 10
    assert delay > probe["periodSeconds"] * probe["failureThreshold"]


def test_the_compose_file_gives_the_drain_its_time():
    [compose] = documents(DEPLOY / "compose" / "compose.yaml")
    server = compose["services"]["deck-1"]

    grace = float(server["stop_grace_period"].removesuffix("s"))
    drain = float(server["environment"]["TENSORDECK_DRAIN_SECONDS"])
    assert grace >= drain + float(server["environment"]["TENSORDECK_DRAIN_DELAY_SECONDS"]) + 10


def test_pods_and_containers_run_confined():
    [deployment] = by_kind("Deployment")
    pod = deployment["spec"]["template"]["spec"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"] + pod["initContainers"]:
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"]
    [compose] = documents(DEPLOY / "compose" / "compose.yaml")
    for name in ("deck-1", "deck-2"):
        assert compose["services"][name]["read_only"] is True
        assert compose["services"][name]["cap_drop"] == ["ALL"]


def test_the_authority_that_compose_makes_is_one_that_servers_start_with(tmp_path):
    [compose] = documents(DEPLOY / "compose" / "compose.yaml")
    [code] = compose["services"]["authority"]["command"]
    made = tmp_path / "volume"
    made.mkdir()
    for _ in range(2):  # the second start changes nothing
        run(sys.executable, "-c", code.replace("/data", str(made)))
    before = (made / "ca.pem").read_bytes()

    for name in ("one", "two"):
        shutil.copytree(made, tmp_path / name / "tls")
        files = ensure_certificates(Settings(data_dir=tmp_path / name), environ={})

        assert files.ca.read_bytes() == before
        assert files.cert.exists()


def test_selectors_ports_and_secrets_fit_together():
    [deployment] = by_kind("Deployment")
    template = deployment["spec"]["template"]
    labels = template["metadata"]["labels"].items()
    [server] = template["spec"]["containers"]
    ports = {port["name"] for port in server["ports"]}

    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels
    for service in by_kind("Service"):
        assert service["spec"]["selector"].items() <= labels
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert server[probe]["httpGet"]["port"] in ports
    [budget], [policy] = by_kind("PodDisruptionBudget"), by_kind("NetworkPolicy")
    assert budget["spec"]["selector"]["matchLabels"].items() <= labels
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels
    mounted = {mount["name"] for mount in server["volumeMounts"]}
    assert mounted <= {volume["name"] for volume in template["spec"]["volumes"]}


# -- metrics -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> dict[str, set[str]]:
    """The labels of each metric's samples, by their names, as the server exposes them."""
    store = open_store(Settings(data_dir=tmp_path_factory.mktemp("metrics")))
    families = server_families(store, CallMeasures(), lambda: (0, 0), lambda: 0.0)
    Exposition(families).write("")  # what the process tells of itself comes with it
    found: dict[str, set[str]] = {}
    for family in families():
        labels = {"instance", "job", *family._labelnames}
        endings = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}
        for ending in endings.get(family.type, ("",)):
            found[family.name + ending] = labels | ({"le"} if ending == "_bucket" else set())
    store.close()
    for name in ("cpu_seconds_total", "resident_memory_bytes", "open_fds", "max_fds"):
        found[f"process_{name}"] = {"instance", "job"}
    return found


def dashboard_expressions() -> list[str]:
    board = json.loads((DEPLOY / "grafana" / "tensordeck.json").read_text())
    return [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]


def alert_expressions() -> list[str]:
    [rules] = documents(DEPLOY / "prometheus" / "alerts.yml")
    return [rule["expr"] for group in rules["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("expressions", [dashboard_expressions, alert_expressions])
def test_every_metric_and_label_that_is_asked_for_is_exposed(samples, expressions):
    for expression in expressions():
        for name, matchers in re.findall(
            r"\b((?:tensordeck|process)_[a-z_]+)(?:\{([^}]*)\})?", expression
        ):
            assert name in samples, expression
            asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
            assert asked <= samples[name], expression


def test_every_metric_of_ours_is_on_the_dashboard(samples):
    shown = " ".join(dashboard_expressions())
    families = {
        re.sub(r"_(bucket|count|sum|total)$", "", name)
        for name in samples
        if name.startswith("tensordeck_")
    }

    assert not [name for name in sorted(families) if name not in shown]


def test_every_expression_of_the_dashboard_is_promql(tmp_path):
    parser = pytest.importorskip("promql_parser")
    for expression in dashboard_expressions():
        plain = expression.replace("$__rate_interval", "5m").replace("$instance", ".*")

        parser.parse(plain)


def test_the_dashboard_s_panels_do_not_overlap():
    board = json.loads((DEPLOY / "grafana" / "tensordeck.json").read_text())
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_the_page_for_operators_names_every_metric_and_no_other(samples):
    families = {
        re.sub(r"_(bucket|count|sum|total)$", "", name)
        for name in samples
        if name.startswith("tensordeck_")
    }
    page = (DEPLOY.parent / "docs" / "operations.md").read_text()

    assert set(re.findall(r"`(tensordeck_[a-z_]+[a-z])`", page)) == families


def test_the_page_for_operators_names_only_options_and_files_that_exist():
    page = (DEPLOY.parent / "docs" / "operations.md").read_text()
    known = {f"--{field.name.replace('_', '-')}" for field in fields(Settings)}
    others = {"--now", "--build-arg"}  # systemctl's and docker's
    lines = [line for line in page.splitlines() if "kubectl" not in line and "docker" not in line]
    used = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", "\n".join(lines)))

    assert used <= known | others
    for path in re.findall(r"(?<!tests/)\b(deploy/[\w/.-]+\w)", page):
        assert (DEPLOY.parent / path).exists(), path
