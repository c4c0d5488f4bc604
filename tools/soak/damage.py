"""Damage to a version of a model."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from service.loading.golden import MAX_UNPACKED_BYTES
from service.model.manifest import GOLDEN, MANIFEST, PREDICT_GRAPH, SAMPLE_GRAPH
from tests.service.access.test_limits import replace
from tests.toy import ToyNet


def truncate(folder: Path) -> None:
    """Cut off half of sample.onnx."""
    content = (folder / SAMPLE_GRAPH).read_bytes()
    (folder / SAMPLE_GRAPH).write_bytes(content[: len(content) // 2])


def flip_a_byte(folder: Path) -> None:
    """Flip one bit of predict.onnx."""
    content = bytearray((folder / PREDICT_GRAPH).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / PREDICT_GRAPH).write_bytes(content)


def give_a_wrong_digest(folder: Path) -> None:
    """State a wrong digest in the manifest."""
    files = json.loads((folder / MANIFEST).read_text())["files"]
    _change_manifest(folder, files=files | {GOLDEN: "0" * 64})


def take_another_shape(folder: Path) -> None:
    """Replace predict.onnx by one of another shape."""
    replace(folder, PREDICT_GRAPH, ToyNet(features=5).graph(masked=False))


def unpack_to_too_much(folder: Path) -> None:
    """Replace golden.npz by a zip bomb."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed, packed.open("sample.npy", "w") as entry:
        for _ in range(MAX_UNPACKED_BYTES // 2**20 + 1):
            entry.write(bytes(2**20))
    replace(folder, GOLDEN, file.getvalue())


def leave_out_the_mask(folder: Path) -> None:
    """Replace sample.onnx by a graph without masks."""
    replace(folder, SAMPLE_GRAPH, (folder / PREDICT_GRAPH).read_bytes())


def be_of_a_newer_schema(folder: Path) -> None:
    """State a newer schema version."""
    _change_manifest(folder, schema_version=3)


def _change_manifest(folder: Path, **changes: Any) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | changes))


DAMAGES: dict[str, Callable[[Path], None]] = {
    "sample.onnx truncated": truncate,
    "one bit of predict.onnx flipped": flip_a_byte,
    "a wrong digest in the manifest": give_a_wrong_digest,
    "predict.onnx of another shape": take_another_shape,
    "golden.npz a zip bomb": unpack_to_too_much,
    "sample.onnx without its mask": leave_out_the_mask,
    "a manifest of a newer schema": be_of_a_newer_schema,
}
