"""Prometheus' configuration and Grafana's dashboards, before a real service under traffic."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NamedTuple

import numpy as np
import pytest

from service.access.keys import make_key
from tests.conftest import PATIENCE, wait_until
from tests.deploy.monitoring import (
    CONFIGURATION,
    OBSERVABILITY,
    ROOT,
    Prometheus,
    configure,
    need_prometheus,
    prometheus,
)
from tests.service.processes import Service, service

DASHBOARDS = sorted((OBSERVABILITY / "grafana/dashboards").glob("*.json"))
ALERTS = re.findall(r"- alert: (\w+)", (CONFIGURATION / "alerts.yml").read_text())
VARIABLES = {"$__rate_interval": "10s", "$instance": ".+", "$model": ".+"}
"""What Grafana puts into a query; the scrapes are a second apart here."""


class Stack(NamedTuple):
    """A service of two workers that asks for keys, and a Prometheus that scrapes it."""

    service: Service
    prometheus: Prometheus
    headers: dict[str, str]

    def send_traffic(self) -> None:
        """Certain and uncertain rows, and requests that are wrong."""
        rows = np.random.default_rng(0).uniform(0, 16, (20, 64)).tolist()
        examples = self.service.client.get("/v1/models/digits/examples", headers=self.headers).json()["inputs"]
        assert self._ask("predict", {"inputs": examples}) == 200
        assert self._ask("uncertainty", {"inputs": examples}) == 200
        assert self._ask("uncertainty", {"inputs": rows}) == 200
        assert self._ask("predict", {"inputs": [[1]]}) == 422
        assert self.service.client.get("/metrics").status_code == 401

    def _ask(self, question: str, body: dict[str, Any]) -> int:
        return self.service.client.post(f"/v1/models/digits/{question}", json=body, headers=self.headers).status_code


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    need_prometheus()
    folder = tmp_path_factory.mktemp("stack")
    secret, key = make_key("prometheus", "infer")
    (folder / "keys").write_text(key.line())
    models = _models(folder / "models")
    options = ("--models", str(models), "--workers", "2")
    with (
        service(folder, *options, DROPSERVE_API_KEYS=str(folder / "keys")) as served,
        prometheus(folder, f"localhost:{served.client.base_url.port}", secret) as watching,
    ):
        yield Stack(served, watching, {"x-api-key": secret})


def _models(folder: Path) -> Path:
    """Digits, and a version 2 of it that is damaged."""
    for version in ("1", "2"):
        shutil.copytree(ROOT / "models/digits/1", folder / "digits" / version)
    (folder / "digits/2/predict.onnx").write_bytes(b"damaged")
    return folder


def _panels() -> list[Any]:
    boards = [(file.stem, json.loads(file.read_text())) for file in DASHBOARDS]
    return [pytest.param(panel, id=f"{name}: {panel['title']}") for name, board in boards for panel in board["panels"]]


def _ask_under_traffic(stack: Stack, query: str) -> list[dict[str, Any]]:
    """What a query finds, once it finds anything: rates need two scrapes with requests between them."""
    end = monotonic() + PATIENCE
    while not (found := stack.prometheus.ask(query)) and monotonic() < end:
        stack.send_traffic()
        sleep(0.5)
    return found


@pytest.mark.parametrize("panel", _panels())
def test_every_query_of_every_panel_finds_data_with_the_labels_of_its_legend(stack: Stack, panel: Any) -> None:
    for target in panel["targets"]:
        query = target["expr"]
        for variable, value in VARIABLES.items():
            query = query.replace(variable, value)
        found = _ask_under_traffic(stack, query)
        assert found, query
        for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
            assert all(label in series["metric"] for series in found), (label, found)


def test_every_rule_is_evaluated_without_error_and_every_recording_has_data(stack: Stack) -> None:
    rules = stack.prometheus.rules()
    assert {rule["name"] for rule in rules if rule["type"] == "alerting"} == set(ALERTS)
    for rule in rules:
        found = _ask_under_traffic(stack, rule["query"]) if rule["type"] == "recording" else []
        assert found or rule["type"] == "alerting", rule["query"]
        stack.prometheus.ask(rule["query"])
    wait_until(lambda: all(rule["health"] != "unknown" for rule in stack.prometheus.rules()))
    assert [rule["lastError"] for rule in stack.prometheus.rules() if rule["health"] != "ok"] == []


def test_a_service_of_several_workers_is_one_target_named_by_its_host(stack: Stack) -> None:
    wait_until(lambda: [target["health"] for target in stack.prometheus.targets()] == ["up"])
    assert stack.prometheus.targets()[0]["labels"] == {"instance": "localhost", "job": "dropserve"}
    wait_until(lambda: [series["value"][1] for series in stack.prometheus.ask("dropserve_workers")] == ["2"])
    assert len(_ask_under_traffic(stack, "process_resident_memory_bytes")) == 2
    assert stack.prometheus.ask("python_info") == []


def test_a_damaged_version_and_nothing_else_is_about_to_be_reported(stack: Stack) -> None:
    found = _ask_under_traffic(stack, 'ALERTS{severity=~".+"}')
    assert {series["metric"]["alertname"] for series in found} == {"DropserveModelRefused"}
    assert {series["metric"]["version"] for series in found} == {"2"}


def test_a_service_without_keys_is_scraped_with_an_empty_key_file(tmp_path: Path, published: Path) -> None:
    need_prometheus()
    with (
        service(tmp_path, "--models", str(published)) as served,
        prometheus(tmp_path, f"localhost:{served.client.base_url.port}", "") as watching,
    ):
        wait_until(lambda: [series["value"][1] for series in watching.ask("up")] == ["1"])


def test_promtool_accepts_the_configuration_and_the_rules(tmp_path: Path) -> None:
    need_prometheus()
    _promtool("check", "config", str(configure(tmp_path)))
    _promtool("check", "rules", "recording.yml", "alerts.yml")


def test_alerts_fire_when_they_should_and_only_then() -> None:
    need_prometheus()
    _promtool("test", "rules", "alerts_test.yml")


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_is_tested_both_firing_and_silent(alert: str) -> None:
    tests = (CONFIGURATION / "alerts_test.yml").read_text()
    assert re.search(rf"alertname: {alert}\n +eval_time: \w+\n +exp_alerts:\n +- exp_labels", tests)
    assert re.search(rf"alertname: {alert}, eval_time: \w+, exp_alerts: \[\]", tests)


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_is_explained(alert: str) -> None:
    assert f"| `{alert}` |" in (ROOT / "docs/observability.md").read_text()


@pytest.mark.parametrize("panel", _panels())
def test_a_panel_has_title_unit_and_source(panel: Any) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"]["uid"] == "prometheus"
    assert panel["type"] in {"stat", "table", "timeseries", "heatmap"}
    assert 0 <= panel["gridPos"]["x"] <= 24 - panel["gridPos"]["w"]


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_ids_are_unique_and_panels_do_not_overlap(file: Path) -> None:
    panels = json.loads(file.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [cell for panel in panels for cell in _cells(**panel["gridPos"])]
    assert len(set(cells)) == len(cells)


def test_dashboards_have_ids_of_their_own_and_the_datasource_is_the_provisioned_one() -> None:
    boards = [json.loads(file.read_text()) for file in DASHBOARDS]
    assert len({board["uid"] for board in boards}) == len(boards) == 2
    provisioned = (OBSERVABILITY / "grafana/provisioning/datasources/prometheus.yml").read_text()
    uids = {variable["datasource"]["uid"] for board in boards for variable in board["templating"]["list"]}
    assert {f"uid: {uid} " in provisioned for uid in uids} == {True}


def test_compose_starts_them_only_by_profile_and_on_loopback_alone() -> None:
    if shutil.which("docker") is None:
        pytest.skip("docker compose is not installed")
    assert set(_compose()["services"]) == {"dropserve"}
    services = _compose("--profile", "observability")["services"]
    for name in ("prometheus", "grafana"):
        found = services[name]
        assert [port["host_ip"] for port in found["ports"]] == ["127.0.0.1"]
        assert found["read_only"]
        assert found["cap_drop"] == ["ALL"]
        assert not found["user"].startswith("0")
        assert re.search(r":v?\d+\.\d+\.\d+$", found["image"])
        mounted = [volume for volume in found["volumes"] if volume["type"] == "bind"]
        assert all(volume["read_only"] and Path(volume["source"]).exists() for volume in mounted)


def _promtool(*arguments: str) -> None:
    done = subprocess.run(["promtool", *arguments], cwd=CONFIGURATION, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _compose(*options: str) -> Any:
    command = ["docker", "compose", "--file", str(ROOT / "docker-compose.yml"), *options, "config", "--format", "json"]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


def _cells(x: int, y: int, w: int, h: int) -> list[tuple[int, int]]:
    return [(column, row) for column in range(x, x + w) for row in range(y, y + h)]
