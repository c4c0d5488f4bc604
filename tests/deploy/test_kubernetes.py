"""The pieces of the Kubernetes deployment are valid, and fit each other."""

import copy
import re
from importlib import import_module
from types import ModuleType

import pytest
import yaml

from service import __version__
from tests.deploy.conftest import (
    BASE,
    DEPLOY,
    EXAMPLE,
    KSERVE,
    LOG,
    Rendered,
    Resource,
    container_of,
    environment_of,
    pod_of,
)

OLDEST, NEWEST = "1.29", None
"""Versions of Kubernetes; None: the newest that the validator has."""
CUSTOM = {"ServiceMonitor"}
"""Kinds that Kubernetes itself does not know."""
SELECTED = {"Service", "PodDisruptionBudget", "NetworkPolicy", "Deployment"}


@pytest.fixture(params=[BASE, EXAMPLE, LOG])
def resources(request: pytest.FixtureRequest, rendered: Rendered) -> dict[str, Resource]:
    return rendered(request.param)


@pytest.fixture(scope="module")
def kubernetes() -> ModuleType:
    """The validator, whose import takes seconds that other files' collection need not."""
    return import_module("kubernetes_validate")


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_kind_is_as_kubernetes_says(
    kubernetes: ModuleType, resources: dict[str, Resource], version: str | None
) -> None:
    for kind in resources.keys() - CUSTOM:
        kubernetes.validate(resources[kind], version or kubernetes.latest_version(), strict=True)


def test_a_misspelt_field_would_be_found(kubernetes: ModuleType, rendered: Rendered) -> None:
    deployment = copy.deepcopy(rendered(BASE)["Deployment"])
    deployment["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes.ValidationError):
        kubernetes.validate(deployment, kubernetes.latest_version(), strict=True)


def test_all_selectors_mean_the_pods(resources: dict[str, Resource]) -> None:
    labels = resources["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    spread = pod_of(resources)["topologySpreadConstraints"]
    selectors = [find_selector(resources[kind]["spec"]) for kind in SELECTED]
    selectors += [constraint["labelSelector"]["matchLabels"] for constraint in spread]
    for selector in selectors:
        assert selector
        assert selector.items() <= labels


def find_selector(spec: Resource) -> dict[str, str]:
    selector: dict[str, str] = spec.get("podSelector") or spec["selector"]
    return selector.get("matchLabels", selector)  # type: ignore[return-value]


def test_references_name_what_is_there(resources: dict[str, Resource]) -> None:
    target = resources["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    deployment = resources["Deployment"]
    assert (target["kind"], target["name"]) == ("Deployment", deployment["metadata"]["name"])
    assert target["apiVersion"] == deployment["apiVersion"]
    assert "replicas" not in deployment["spec"]
    assert pod_of(resources)["serviceAccountName"] == resources["ServiceAccount"]["metadata"]["name"]
    settings = container_of(resources)["envFrom"][0]["configMapRef"]["name"]
    assert settings == resources["ConfigMap"]["metadata"]["name"]


def test_ports_are_those_that_the_service_is_told(resources: dict[str, Resource]) -> None:
    settings = environment_of(resources)
    ports = {port["name"]: port["containerPort"] for port in container_of(resources)["ports"]}
    assert ports == {"http": int(settings["DROPSERVE_PORT"]), "grpc": int(settings["DROPSERVE_GRPC_PORT"])}
    assert {port["targetPort"] for port in resources["Service"]["spec"]["ports"]} == ports.keys()
    (ingress,) = resources["NetworkPolicy"]["spec"]["ingress"]
    assert {port["port"] for port in ingress["ports"]} == ports.keys()
    probes = [container_of(resources)[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")]
    assert {probe["port"] for probe in probes} == {"http"}


@pytest.mark.parametrize(("folder", "others"), [(BASE, []), (EXAMPLE, []), (LOG, [5432])])
def test_egress_is_dns_and_stores_alone(rendered: Rendered, folder: str, others: list[int]) -> None:
    policy = rendered(folder)["NetworkPolicy"]["spec"]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    dns, store, *more = policy["egress"]
    assert more == [{"ports": [{"port": port}]} for port in others]
    assert {(port["port"], port["protocol"]) for port in dns["ports"]} == {(53, "UDP"), (53, "TCP")}
    assert store == {"ports": [{"port": 443}]}


def test_the_container_may_do_nothing_but_write_its_tmp(resources: dict[str, Resource]) -> None:
    pod, container = pod_of(resources), container_of(resources)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    writable = [mount for mount in container["volumeMounts"] if not mount.get("readOnly")]
    assert writable == [{"name": "tmp", "mountPath": "/tmp"}]
    assert any(volume["name"] == "tmp" and "emptyDir" in volume for volume in pod["volumes"])
    assert environment_of(resources)["DROPSERVE_CACHE"].startswith("/tmp/")


def test_every_volume_mounted_is_there(resources: dict[str, Resource]) -> None:
    volumes = {volume["name"] for volume in pod_of(resources)["volumes"]}
    assert {mount["name"] for mount in container_of(resources)["volumeMounts"]} == volumes


def test_the_example_finds_its_keys(rendered: Rendered) -> None:
    resources = rendered(EXAMPLE)
    mounts = {mount["name"]: mount["mountPath"] for mount in container_of(resources)["volumeMounts"]}
    (volume,) = [volume for volume in pod_of(resources)["volumes"] if "secret" in volume]
    (item,) = volume["secret"]["items"]
    assert environment_of(resources)["DROPSERVE_API_KEYS"] == f"{mounts[volume['name']]}/{item['path']}"
    (endpoint,) = resources["ServiceMonitor"]["spec"]["endpoints"]
    assert endpoint["authorization"]["credentials"]["name"] == volume["secret"]["secretName"]


def test_the_prediction_log_finds_its_database(rendered: Rendered) -> None:
    resources = rendered(LOG)
    assert environment_of(resources)["DROPSERVE_PREDICTION_LOG"].startswith("postgresql://")
    assert environment_of(resources)["DROPSERVE_API_KEYS"]
    assert {"secretRef": {"name": "dropserve-prediction-log"}} in container_of(resources)["envFrom"]


def test_the_monitor_finds_the_service(rendered: Rendered) -> None:
    resources = rendered(EXAMPLE)
    monitor, service = resources["ServiceMonitor"], resources["Service"]
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert monitor["metadata"]["namespace"] == service["metadata"]["namespace"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint.keys() == {"port", "path", "interval", "authorization"}
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}


@pytest.mark.parametrize("folder", [BASE, KSERVE])
def test_the_image_is_composes_of_this_version(rendered: Rendered, folder: str) -> None:
    compose = yaml.safe_load((DEPLOY.parent / "docker-compose.yml").read_text())
    (name,) = [
        name for name, service in compose["services"].items() if service.get("build", {}).get("target") == "serve"
    ]
    assert container_of(rendered(folder))["image"] == f"{name}:{__version__}"


def test_the_user_is_the_images(rendered: Rendered) -> None:
    security = pod_of(rendered(BASE))["securityContext"]
    assert f"USER {security['runAsUser']}:{security['runAsGroup']}\n" in (DEPLOY.parent / "Dockerfile").read_text()


def test_the_page_names_folders_that_render(rendered: Rendered) -> None:
    page = (DEPLOY.parent / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    folders = set(re.findall(r"(?:kustomize|-k) deploy/(\S+)", page))
    assert folders >= {EXAMPLE, KSERVE}
    assert all(rendered(folder) for folder in folders)
