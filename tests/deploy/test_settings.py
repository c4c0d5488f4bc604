"""The settings of the containers are settings of the service, agree with their limits, and work."""

from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.access.keys import make_key
from service.config import Settings, find_misspelt
from tests.deploy.conftest import BASE, EXAMPLE, KSERVE, LOG, Rendered, Resource, container_of, environment_of, pod_of
from tests.service.processes import service

ELSEWHERE = {"DROPSERVE_PORT", "DROPSERVE_GRPC_PORT", "DROPSERVE_MODELS", "DROPSERVE_CACHE", "DROPSERVE_HOST"}
"""Settings that name places of a container; a test has places of its own."""
GRACE = 30
"""Seconds that Kubernetes gives a pod that does not say how many."""


def settings_of(resources: dict[str, Resource], monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in environment_of(resources).items():
        monkeypatch.setenv(name, value)
    return Settings()


def to_bytes(quantity: str) -> int:
    return int(quantity[:-2]) * {"Mi": 2**20, "Gi": 2**30}[quantity[-2:]]


@pytest.mark.parametrize("folder", [BASE, EXAMPLE, LOG, KSERVE])
def test_all_variables_are_settings(rendered: Rendered, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = environment_of(rendered(folder))
    assert find_misspelt(variables) == {}
    assert all(name.startswith("DROPSERVE_") for name in variables)
    assert settings_of(rendered(folder), monkeypatch).host == "0.0.0.0"


@pytest.mark.parametrize("folder", [BASE, KSERVE])
def test_limits_agree_with_workers(rendered: Rendered, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(rendered(folder), monkeypatch)
    resources = container_of(rendered(folder))["resources"]
    assert int(resources["limits"]["cpu"]) == settings.workers * (1 + settings.threads)
    assert int(resources["requests"]["cpu"]) >= settings.workers
    assert to_bytes(resources["requests"]["memory"]) <= to_bytes(resources["limits"]["memory"])


@pytest.mark.parametrize("folder", [BASE, KSERVE])
def test_the_end_fits_into_the_grace_period(rendered: Rendered, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(rendered(folder), monkeypatch)
    pod = pod_of(rendered(folder)) if folder == BASE else {}
    readiness = container_of(rendered(folder))["readinessProbe"]
    assert settings.drain_delay + settings.drain_timeout < pod.get("terminationGracePeriodSeconds", GRACE)
    assert settings.request_timeout <= settings.drain_timeout
    assert readiness["periodSeconds"] * readiness["failureThreshold"] < settings.drain_delay


def test_the_cache_has_room_for_the_largest_model(rendered: Rendered, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(rendered(BASE), monkeypatch)
    (tmp,) = [volume for volume in pod_of(rendered(BASE))["volumes"] if volume["name"] == "tmp"]
    room = to_bytes(tmp["emptyDir"]["sizeLimit"])
    # a changed model is fetched beside the one that serves, and its weights are copied while it is loaded
    assert room > 3 * settings.max_model_bytes
    assert room <= to_bytes(container_of(rendered(BASE))["resources"]["limits"]["ephemeral-storage"])


def test_pods_are_added_before_callers_are_refused(rendered: Rendered, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = rendered(BASE)["HorizontalPodAutoscaler"]["spec"]["metrics"]
    (depth,) = [metric["pods"] for metric in metrics if metric["type"] == "Pods"]
    assert 0 < int(depth["target"]["averageValue"]) < settings_of(rendered(BASE), monkeypatch).queue_size


def test_links_to_services_cannot_be_taken_for_settings(rendered: Rendered) -> None:
    """For a Service named dropserve Kubernetes sets DROPSERVE_PORT=tcp://10.0.0.1:80, which is no port."""
    assert rendered(BASE)["Service"]["metadata"]["name"] == "dropserve"
    assert pod_of(rendered(BASE))["enableServiceLinks"] is False


def test_a_service_with_these_settings_answers(rendered: Rendered, published: Path, tmp_path: Path) -> None:
    """Its probes, without a key; Prometheus, with its key; the figure by which pods are added."""
    resources = rendered(EXAMPLE)
    secret, key = make_key("prometheus", "infer")
    kept = {name: value for name, value in environment_of(resources).items() if name not in ELSEWHERE}
    kept |= {"DROPSERVE_MODELS": str(published), "DROPSERVE_GRPC_PORT": "0"}
    with service(tmp_path, **kept | {"DROPSERVE_API_KEYS": str(mount_secret(tmp_path, key.line()))}) as running:
        for kind in ("startup", "liveness", "readiness"):
            path = container_of(resources)[f"{kind}Probe"]["httpGet"]["path"]
            assert running.client.get(path).status_code == 200, path
        (endpoint,) = resources["ServiceMonitor"]["spec"]["endpoints"]
        assert running.client.get(endpoint["path"]).status_code == 401
        running.client.headers["Authorization"] = f"Bearer {secret}"
        assert find_depth(resources) in gauges(running.client, endpoint["path"])


def mount_secret(folder: Path, content: str) -> Path:
    """A file as Kubernetes mounts one of a Secret: a link below a link."""
    data = folder / "..2026_01_01"
    data.mkdir()
    (data / "api_keys").write_text(f"{content}\n")
    (folder / "..data").symlink_to(data.name)
    (folder / "api_keys").symlink_to("..data/api_keys")
    return folder / "api_keys"


def find_depth(resources: dict[str, Resource]) -> str:
    metrics = resources["HorizontalPodAutoscaler"]["spec"]["metrics"]
    (name,) = [metric["pods"]["metric"]["name"] for metric in metrics if metric["type"] == "Pods"]
    return str(name)


def gauges(client: httpx.Client, path: str) -> set[str]:
    families = text_string_to_metric_families(client.get(path).text)
    return {family.name for family in families if family.type == "gauge"}
