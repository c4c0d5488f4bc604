"""The public API: its names, and that importing a package imports nothing that only some of them need."""

import subprocess
import sys
from typing import Any

import pytest

import service
import training

HEAVY = {"torch", "onnx", "onnxruntime", "fastapi", "uvicorn", "numpy", "pydantic", "sklearn"}


def imported(statement: str) -> set[str]:
    """Which of the heavy packages a new Python has imported after a statement."""
    program = f"import sys\n{statement}\nprint(*(sys.modules.keys() & {HEAVY!r}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("package", ["service", "training"])
def test_importing_a_package_imports_nothing_heavy(package: str) -> None:
    assert imported(f"import {package}") == set()


def test_names_are_those_of_their_modules() -> None:
    from service.config import Settings
    from service.http.app import create_app
    from service.loading.load import load_model
    from training.evidence.rows import Rows
    from training.exporting.export import export
    from training.exporting.verify import verify
    from training.importing.publishing import publish_onnx
    from training.publish.release import publish_module

    assert [service.Settings, service.create_app, service.load_model] == [Settings, create_app, load_model]
    assert [training.Rows, training.export, training.verify] == [Rows, export, verify]
    assert [training.publish_module, training.publish_onnx] == [publish_module, publish_onnx]
    assert sorted([*service.__all__, *training.__all__]) == [
        *("Rows", "Settings", "create_app", "export", "load_model", "publish_module", "publish_onnx", "verify")
    ]


def test_serving_imports_no_torch() -> None:
    found = imported("from service import Settings, create_app, load_model")
    assert "onnxruntime" in found
    assert not found & {"torch", "onnx", "sklearn"}


@pytest.mark.parametrize("package", [service, training])
def test_another_name_is_an_attribute_error(package: Any) -> None:
    with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'other'"):
        _ = package.other
