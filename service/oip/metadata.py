"""Descriptions of the server and of models."""

from typing import Any

from service import __version__
from service.model.manifest import Manifest
from service.oip.datatypes import NAMES
from service.oip.outputs import outputs_of

Json = dict[str, Any]

PLATFORM = "onnxruntime_onnx"

SERVER: Json = {
    "name": "dropserve",
    "version": __version__,
    "extensions": ["binary_tensor_data", "model_repository", "parameters"],
}


def describe_model(manifest: Manifest, versions: list[str]) -> Json:
    """Return a model's inputs and all outputs that can be requested; -1 is an axis of any length."""
    sizes = {"passes": -1, "outputs": manifest.answers}
    return {
        "name": manifest.name,
        "versions": versions,
        "platform": PLATFORM,
        "inputs": [
            {"name": spec.name, "datatype": NAMES[spec.dtype], "shape": [-1, *spec.shape]} for spec in manifest.inputs
        ],
        "outputs": [
            {"name": name, "datatype": output.datatype, "shape": [-1, *(sizes[axis] for axis in output.shape)]}
            for name, output in outputs_of(manifest).items()
        ],
    }
