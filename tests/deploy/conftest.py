"""What the tests of the deployment share: resources as kustomize renders them, and kinds' places in them."""

import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
BASE = "kubernetes/base"
EXAMPLE = "kubernetes/overlays/example"
LOG = "kubernetes/overlays/prediction-log"
KSERVE = "kserve"

Resource = dict[str, Any]
Rendered = Callable[[str], dict[str, Resource]]


@pytest.fixture(scope="session")
def rendered() -> Rendered:
    """The resources of a folder, by kind; each kind is there once."""
    if not (command := _kustomize()):
        pytest.skip("neither kubectl nor kustomize is here")
    return cache(lambda folder: _render([*command, str(DEPLOY / folder)]))


def _kustomize() -> list[str]:
    if shutil.which("kubectl"):
        return ["kubectl", "kustomize"]
    return ["kustomize", "build"] if shutil.which("kustomize") else []


def _render(command: list[str]) -> dict[str, Resource]:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    resources = list(yaml.safe_load_all(done.stdout))
    by_kind = {resource["kind"]: resource for resource in resources}
    assert len(by_kind) == len(resources)
    return by_kind


def pod_of(resources: dict[str, Resource]) -> Resource:
    """What a pod of the Deployment is made of."""
    spec: Resource = resources["Deployment"]["spec"]["template"]["spec"]
    return spec


def container_of(resources: dict[str, Resource]) -> Resource:
    """The only container of the Deployment, or of the ServingRuntime."""
    pod = pod_of(resources) if "Deployment" in resources else resources["ServingRuntime"]["spec"]
    (container,) = pod["containers"]
    return dict(container)


def environment_of(resources: dict[str, Resource]) -> dict[str, str]:
    """The container's variables."""
    if "ConfigMap" in resources:
        return dict(resources["ConfigMap"]["data"])
    return {variable["name"]: variable["value"] for variable in container_of(resources)["env"]}
