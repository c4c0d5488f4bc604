"""What a model folder may not do to the service that loads it: fill its memory, or read its files."""

import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from service.engine.masks import MaskCache
from service.errors import InvalidModel
from service.loading.golden import MAX_UNPACKED_BYTES
from service.loading.load import load_model
from service.model.external_data import check_external_data
from service.model.manifest import GOLDEN, MANIFEST, MAX_MANIFEST_BYTES, PREDICT_GRAPH, SAMPLE_GRAPH, sha256
from tests.toy import ToyNet

MODELS = Path(__file__).parents[3] / "models"


@pytest.fixture
def folder(toy: ToyNet, tmp_path: Path) -> Path:
    return toy.publish(tmp_path)


def replace(folder: Path, name: str, content: bytes) -> None:
    """Put other content in the place of a file, with a digest that agrees."""
    (folder / name).write_bytes(content)
    said = json.loads((folder / MANIFEST).read_text())
    said["files"][name] = sha256(content)
    (folder / MANIFEST).write_text(json.dumps(said))


def external(location: str, name: str = "w") -> TensorProto:
    """Four bytes of some file."""
    tensor = TensorProto(name=name, data_type=TensorProto.UINT8, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("length", "4")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def graph(*nodes: onnx.NodeProto, initializers: tuple[TensorProto, ...] = ()) -> onnx.GraphProto:
    output = helper.make_tensor_value_info("y", TensorProto.UINT8, [4])
    return helper.make_graph(list(nodes), "g", [], [output], list(initializers))


def model(graph: onnx.GraphProto, functions: tuple[onnx.FunctionProto, ...] = ()) -> bytes:
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10, functions=functions)
    return bytes(made.SerializeToString())


def in_a_weight(location: str) -> bytes:
    return model(graph(helper.make_node("Identity", ["w"], ["y"]), initializers=(external(location),)))


def in_a_constant(location: str) -> bytes:
    return model(graph(helper.make_node("Constant", [], ["y"], value=external(location))))


def in_a_branch(location: str) -> bytes:
    branch = graph(helper.make_node("Constant", [], ["y"], value=external(location)))
    true = helper.make_tensor("c", TensorProto.BOOL, [], [True])
    choice = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    return model(graph(choice, initializers=(true,)))


def in_a_function(location: str) -> bytes:
    body = [helper.make_node("Constant", [], ["y"], value=external(location))]
    function = helper.make_function("f", "f", [], ["y"], body, [helper.make_opsetid("", 20)])
    return model(graph(helper.make_node("f", [], ["y"], domain="f")), (function,))


def in_a_sparse_weight(location: str) -> bytes:
    made = onnx.ModelProto.FromString(model(graph()))
    sparse = made.graph.sparse_initializer.add(dims=[4])
    sparse.values.CopyFrom(external(location))
    return bytes(made.SerializeToString())


@pytest.mark.parametrize("hidden", [in_a_weight, in_a_constant, in_a_branch, in_a_function, in_a_sparse_weight])
@pytest.mark.parametrize("location", ["/etc/hostname", "secret.bin", "../../../etc/hostname"])
def test_no_graph_reads_another_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, hidden: object, location: str
) -> None:
    """`secret.bin` lies in the working directory, where onnxruntime would find it."""
    assert callable(hidden)
    (folder / "secret.bin").write_bytes(b"secret")
    monkeypatch.chdir(folder)
    replace(folder, PREDICT_GRAPH, hidden(location))
    with pytest.raises(InvalidModel, match=r"predict\.onnx: has weights in another file"):
        load_model(folder, MaskCache(0))


def test_a_disguised_field_number_is_seen() -> None:
    """Protobuf keeps 32 bits of a tag; the rest may be anything."""
    plain, disguised = bytes([14 << 3]), bytes([(14 << 3) | 0x80, 0x80, 0x80, 0x80, 0x10])
    content = in_a_weight("secret.bin")
    tensor = external("secret.bin")
    tensor.ClearField("external_data")
    before, after = tensor.SerializeToString(), tensor.SerializeToString().replace(plain + b"\x01", disguised + b"\x01")
    assert len(after) == len(before) + 4
    for written in (before, after):
        wrapped = b"\x2a" + bytes([len(written)]) + written  # graph.initializer
        with pytest.raises(InvalidModel, match="another file"):
            check_external_data(b"\x3a" + bytes([len(wrapped)]) + wrapped, "a graph")
    with pytest.raises(InvalidModel, match="another file"):
        check_external_data(content, "a graph")


@pytest.mark.parametrize("path", sorted(MODELS.glob("*/*/*.onnx")), ids=lambda path: path.name)
def test_graphs_that_keep_their_weights_pass(path: Path) -> None:
    check_external_data(path.read_bytes(), path.name)


@pytest.mark.parametrize("size", [1, 10, 100, 1000])
def test_a_cut_graph_is_no_graph(toy: ToyNet, size: int) -> None:
    with pytest.raises(InvalidModel, match="is not an ONNX file"):
        check_external_data(toy.graph(masked=True)[:size], "a graph")


def test_another_format_than_onnx_is_refused(folder: Path) -> None:
    """onnxruntime would take a flatbuffer as well, which was not checked."""
    replace(folder, PREDICT_GRAPH, b"\x08\x00\x00\x00ORTM")
    with pytest.raises(InvalidModel, match=r"predict\.onnx: is not an ONNX file"):
        load_model(folder, MaskCache(0))


def test_golden_answers_that_unpack_to_too_much(folder: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed, packed.open("sample.npy", "w") as entry:
        for _ in range(MAX_UNPACKED_BYTES // 2**20 + 1):
            entry.write(bytes(2**20))
    assert len(file.getvalue()) < 2**20
    replace(folder, GOLDEN, file.getvalue())
    with pytest.raises(InvalidModel, match=r"golden\.npz: cannot be read: not an NPZ file: it unpacks to \d+ bytes"):
        load_model(folder, MaskCache(0))


def test_golden_answers_that_claim_to_be_huge(folder: Path) -> None:
    header = io.BytesIO()
    shape = {"descr": "<f8", "fortran_order": False, "shape": (2**50,)}
    np.lib.format.write_array_header_2_0(header, shape)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("sample.npy", header.getvalue())
    replace(folder, GOLDEN, file.getvalue())
    with pytest.raises(InvalidModel, match=r"golden\.npz: cannot be read"):
        load_model(folder, MaskCache(0))


def test_golden_answers_that_are_no_archive(folder: Path) -> None:
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    replace(folder, GOLDEN, file.getvalue())
    with pytest.raises(InvalidModel, match=r"golden\.npz: cannot be read"):
        load_model(folder, MaskCache(0))


@pytest.mark.parametrize("name", [MANIFEST, PREDICT_GRAPH, GOLDEN])
def test_a_pipe_is_not_waited_for(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(InvalidModel, match=f"{name}: cannot be read: it is not a regular file"):
        load_model(folder, MaskCache(0))


def test_a_device_is_not_read(folder: Path) -> None:
    (folder / MANIFEST).unlink()
    (folder / MANIFEST).symlink_to("/dev/zero")
    with pytest.raises(InvalidModel, match="not a regular file"):
        load_model(folder, MaskCache(0))


def test_a_long_manifest(folder: Path) -> None:
    (folder / MANIFEST).write_bytes(b" " * (MAX_MANIFEST_BYTES + 1))
    with pytest.raises(InvalidModel, match=rf"manifest\.json: has {MAX_MANIFEST_BYTES + 1} bytes"):
        load_model(folder, MaskCache(0))


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "a/b", ".hidden", "..", "a\n"])
def test_a_manifest_names_no_file_elsewhere(folder: Path, name: str) -> None:
    said = json.loads((folder / MANIFEST).read_text())
    said["files"][name] = "0" * 64
    (folder / MANIFEST).write_text(json.dumps(said))
    with pytest.raises(InvalidModel, match="files"):
        load_model(folder, MaskCache(0))


def test_a_graph_that_fails_when_it_runs(folder: Path) -> None:
    """It promises rows without end, and can do one."""
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [1, 4])
    three = helper.make_tensor("three", TensorProto.INT64, [3], [0, 1, 2])
    nodes = [
        helper.make_node("Reshape", ["input", "shape"], ["one"]),
        helper.make_node("Gather", ["one", "three"], ["short"], axis=1),
        helper.make_node("Identity", ["short"], ["output"]),
    ]
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["rows", 4])
    answer = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["any", 3])
    replace(folder, PREDICT_GRAPH, model(helper.make_graph(nodes, "g", [given], [answer], [shape, three])))
    with pytest.raises(InvalidModel, match="predict"):
        load_model(folder, MaskCache(0))


def test_too_large_a_file_is_refused_unread(folder: Path) -> None:
    with (folder / SAMPLE_GRAPH).open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(InvalidModel, match=r"has \d+ bytes; DROPSERVE_MAX_MODEL_BYTES allows \d+"):
        load_model(folder, MaskCache(0))
