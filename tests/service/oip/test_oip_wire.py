"""Bodies of the Open Inference Protocol: what is right becomes arrays, anything else is refused, naming the tensor."""

import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.access.compression import decompress
from service.errors import BodyTooLarge, InvalidInput, InvalidRequest, LimitExceeded, MalformedBody
from service.model.manifest import Manifest
from service.model.runtime import Array
from service.oip.datatypes import DTYPES, NUMERIC, to_bytes
from service.oip.form import KnownForms
from service.oip.messages import InferRequest, RequestedOutput
from service.oip.wire import decode_infer
from tests.toy import ToyNet

MAX_ROWS = 5
ROW = [1.0, 2.0, 3.0, 4.0]
TOKENS = {"name": "tokens", "dtype": "int32", "shape": (3,)}
IMAGE = {"name": "image", "dtype": "float32", "shape": (2, 3)}


def of(*inputs: Mapping[str, object]) -> Manifest:
    return ToyNet().manifest(inputs=inputs)


def tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "input", "shape": [1, 4], "datatype": "FP32", "data": ROW} | changes


def raw_tensor(size: object, **changes: Any) -> dict[str, Any]:
    described = tensor(parameters={"binary_data_size": size}) | changes
    return {name: value for name, value in described.items() if name != "data"}


class Read(NamedTuple):
    """A request with its inputs as the model takes them."""

    inputs: dict[str, Array]
    outputs: tuple[RequestedOutput, ...]
    parameters: Mapping[str, object]
    id: str | None


def read(manifest: Manifest, *tensors: Any, tail: bytes = b"", **fields: Any) -> Read:
    head = json.dumps({"inputs": tensors} | fields).encode()
    found = fitted(head + tail, str(len(head)).encode(), manifest)
    if not tail:  # the length of the JSON may be left out
        assert_same(found, fitted(head, None, manifest))
    if isinstance(found, InvalidRequest):
        raise found
    return found


def fitted(body: bytes, length: bytes | None, manifest: Manifest) -> Read | InvalidRequest:
    try:
        request = decode_infer(body, length, manifest, MAX_ROWS)
        return Read(request.inputs.fit(manifest), request.outputs, request.parameters, request.id)
    except InvalidRequest as error:
        return error


def assert_same(found: Read | InvalidRequest, expected: Read | InvalidRequest) -> None:
    if isinstance(found, InvalidRequest) or isinstance(expected, InvalidRequest):
        assert repr(found) == repr(expected)
    else:
        np.testing.assert_equal(found._asdict(), expected._asdict())


def refusal(manifest: Manifest, *tensors: Any, tail: bytes = b"", **fields: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as error:
        read(manifest, *tensors, tail=tail, **fields)
    return error.value


# what is right


@pytest.mark.parametrize("data", [ROW, [ROW], [1, 2, 3, 4]])
def test_data_may_be_flat_or_nested(data: object, manifest: Manifest) -> None:
    array = read(manifest, tensor(data=data)).inputs["input"]
    np.testing.assert_array_equal(array, np.array([ROW], np.float32), strict=True)


def test_deep_data_is_row_major() -> None:
    values = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    for data in (values.tolist(), values.ravel().tolist()):
        read_back = read(of(IMAGE), tensor(name="image", shape=[2, 2, 3], data=data)).inputs["image"]
        np.testing.assert_array_equal(read_back, values, strict=True)


@pytest.mark.parametrize("datatype", sorted(set(DTYPES) - {"BOOL"}))
def test_every_datatype_becomes_the_models_own(datatype: str, manifest: Manifest) -> None:
    row = np.array([ROW])
    sent = row.astype(DTYPES[datatype]).tobytes()
    as_bytes = read(manifest, raw_tensor(len(sent), datatype=datatype), tail=sent)
    as_json = read(manifest, tensor(datatype=datatype, data=[int(value) for value in ROW]))
    for request in (as_bytes, as_json):
        np.testing.assert_array_equal(request.inputs["input"], row.astype(np.float32), strict=True)


def test_json_keeps_the_digits_that_the_model_takes() -> None:
    """Whatever the datatype, which clients of older versions of a model may still send."""
    manifest = of({"name": "seconds", "dtype": "float64", "shape": (2,)})
    seconds = [1700000000.25, 1700000000.75]
    described = tensor(name="seconds", shape=[1, 2], datatype="FP32", data=seconds)
    np.testing.assert_array_equal(read(manifest, described).inputs["seconds"], [seconds], strict=True)


def test_truth_values_are_numbers(manifest: Manifest) -> None:
    expected = np.array([[0, 1, 1, 0]], np.float32)
    as_json = read(manifest, tensor(datatype="BOOL", data=[False, True, True, False]))
    as_bytes = read(manifest, raw_tensor(4, datatype="BOOL"), tail=b"\0\1\1\0")
    for request in (as_json, as_bytes):
        np.testing.assert_array_equal(request.inputs["input"], expected, strict=True)


def test_bf16_is_the_upper_half_of_fp32(manifest: Manifest) -> None:
    sent = b"".join(struct.pack("<f", value)[2:] for value in ROW)
    request = read(manifest, raw_tensor(8, datatype="BF16"), tail=sent)
    np.testing.assert_array_equal(request.inputs["input"], np.array([ROW], np.float32), strict=True)


def test_raw_bytes_follow_in_the_order_of_the_inputs() -> None:
    tokens, image = np.arange(3, dtype="<i4"), np.arange(6, dtype="<f4")
    described = (
        raw_tensor(24, name="image", shape=[1, 2, 3]),
        raw_tensor(12, name="tokens", shape=[1, 3], datatype="INT32"),
    )
    request = read(of(TOKENS, IMAGE), *described, tail=image.tobytes() + tokens.tobytes())
    np.testing.assert_array_equal(request.inputs["tokens"], [tokens])
    np.testing.assert_array_equal(request.inputs["image"], [image.reshape(2, 3)])


def test_raw_bytes_and_json_side_by_side() -> None:
    described = (
        tensor(name="tokens", shape=[1, 3], datatype="INT64", data=[7, 8, 9]),
        raw_tensor(24, name="image", shape=[1, 2, 3]),
    )
    request = read(of(TOKENS, IMAGE), *described, tail=np.ones(6, "<f4").tobytes())
    np.testing.assert_array_equal(request.inputs["tokens"], [[7, 8, 9]])
    assert request.inputs["tokens"].dtype == np.int32


def test_json_that_was_read_before_is_read_as_the_first_time(manifest: Manifest) -> None:
    known = KnownForms()
    head = json.dumps({"inputs": [raw_tensor(16)], "id": "same"}).encode()

    def decode(tail: bytes, manifest: Manifest) -> InferRequest:
        return decode_infer(head + tail, str(len(head)).encode(), manifest, MAX_ROWS, known)

    for row in (ROW, [5.0, 6.0, 7.0, 8.0]):
        request = decode(np.array(row, "<f4").tobytes(), manifest)
        assert request.id == "same"
        assert request.inputs.fit(manifest)["input"].tolist() == [row]
    with pytest.raises(InvalidInput, match="at most the 15 bytes left"):
        decode(bytes(15), manifest)
    with pytest.raises(InvalidInput, match="1 of the bytes after the JSON belong to no input"):
        decode(bytes(17), manifest)
    other = of(IMAGE | {"name": "input"})
    with pytest.raises(InvalidInput, match=r"inputs.input.shape: expected \[-1, 2, 3\]"):
        decode(bytes(16), other)


def test_json_with_values_is_not_remembered(manifest: Manifest) -> None:
    known = KnownForms()
    text = json.dumps({"inputs": [tensor()]}).encode()
    first, second = (known.read(text, manifest, MAX_ROWS) for _ in range(2))
    assert first is not second
    text = json.dumps({"inputs": [raw_tensor(16)]}).encode()
    first, second = (known.read(text, manifest, MAX_ROWS) for _ in range(2))
    assert first is second


def test_nulls_are_as_if_absent(manifest: Manifest) -> None:
    request = read(manifest, tensor(parameters=None), id=None, parameters=None, outputs=None)
    assert (request.id, request.outputs, dict(request.parameters)) == (None, (), {})


def test_binary_outputs_can_be_requested_one_by_one(manifest: Manifest) -> None:
    outputs = [{"name": "label", "parameters": {"binary_data": False}}, {"name": "probabilities"}]
    request = read(manifest, tensor(), outputs=outputs, parameters={"binary_data_output": True})
    assert request.outputs == (("label", False), ("probabilities", True))


def test_strings_have_their_length_before_them() -> None:
    labels = np.array(["a", "", "ä"], dtype=object)
    assert to_bytes(labels, "BYTES") == b"\x01\0\0\0a\0\0\0\0\x02\0\0\0\xc3\xa4"


# what is refused


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "inputt"}, "inputs.inputt: the model has no such input; it has input"),
        ({"datatype": "FP31"}, "inputs.input.datatype: expected one of"),
        ({"datatype": "BYTES"}, "found BYTES, but the model's inputs are numbers"),
        ({"datatype": "BF16"}, "inputs.input.data: JSON has no BF16"),
        ({"shape": []}, "inputs.input.shape: expected [-1, 4]"),
        ({"shape": [4]}, "inputs.input.shape: expected [-1, 4]"),
        ({"shape": [1, 5], "data": [*ROW, 5.0]}, "found [1, 5]"),
        ({"shape": [0, 4], "data": []}, "with at least 1 row"),
        ({"shape": [-1, 4]}, "found [-1, 4]"),
        ({"shape": [-(2**63), 4]}, "inputs.input.shape: expected [-1, 4]"),
        ({"shape": [2**62, 2**62]}, "inputs.input.shape: expected [-1, 4]"),
        ({"shape": [2**62, 4]}, f"at most {MAX_ROWS} rows"),
        ({"shape": [2**63, 4]}, "inputs[0].shape[0]: expected a whole number <="),
        ({"shape": [10**400, 4]}, "inputs[0].shape[0]"),
        ({"shape": [1.5, 4]}, "inputs[0].shape[0]: expected a whole number, found a number"),
        ({"shape": [1] * 1000}, "inputs.input.shape: expected [-1, 4]"),
        ({"shape": [2, 4]}, "inputs.input.data: expected 2×4 values of FP32"),
        ({"data": ROW[:3]}, "found 3"),
        ({"data": []}, "found 0"),
        ({"data": [ROW, ROW]}, "found 2×4"),
        ({"data": [ROW[:2], ROW[2:]]}, "found 2×2"),
        ({"data": [[1, 2, 3], [4]]}, "different lengths"),
        ({"data": [[[1]], [[2]], [[3]], [[4]]]}, "inputs.input.data"),
        ({"data": ["1", 2, 3, 4]}, "expected a number, found a string"),
        ({"data": [None, 2, 3, 4]}, "expected a number, found null"),
        ({"data": None}, "inputs.input.data: expected 1×4 values of FP32"),
        ({"data": 5}, "inputs.input.data"),
        ({"data": [1e39, 0, 0, 0]}, "inputs[0][0]: expected a finite number that fits float32"),
        ({"data": [1.5, 0, 0, 0], "datatype": "INT32"}, "expected a whole number, found a number"),
        ({"data": [300, 0, 0, 0], "datatype": "UINT8"}, "out of range"),
        ({"data": [-1, 0, 0, 0], "datatype": "UINT64"}, "out of range"),
        ({"data": [1, 0, 0, 0], "datatype": "BOOL"}, "expected true or false, found a whole number"),
        ({"parameters": {"binary_data_size": 16}}, "either data or parameters.binary_data_size, found both"),
        ({"parameters": {"shared_memory_region": "x"}}, "inputs.input.parameters.shared_memory_region"),
        ({"parameters": []}, "inputs[0].parameters: expected an object"),
    ],
)
def test_a_wrong_tensor_is_refused(changes: dict[str, Any], message: str, manifest: Manifest) -> None:
    assert message in refusal(manifest, tensor(**changes)).message


@pytest.mark.parametrize(
    ("size", "tail", "message"),
    [
        (16, bytes(15), "at most the 15 bytes left"),
        (16, bytes(17), "1 of the bytes after the JSON belong to no input"),
        (15, bytes(15), "inputs.input: expected 16 bytes, 1×4 of FP32; found 15"),
        (20, bytes(20), "inputs.input: expected 16 bytes, 1×4 of FP32; found 20"),
        (0, b"", "inputs.input: expected 16 bytes"),
        (-16, bytes(16), "found -16"),
        (2**80, bytes(16), "at most the 16 bytes left"),
        (16.0, bytes(16), "expected a whole number"),
        ("16", bytes(16), "expected a whole number"),
        (True, bytes(16), "expected a whole number"),
        (None, bytes(16), "either data or parameters.binary_data_size, found neither"),
        (16, b"\xff" * 16, "expected a finite number"),
    ],
)
def test_raw_bytes_that_do_not_fit(size: object, tail: bytes, message: str, manifest: Manifest) -> None:
    assert message in refusal(manifest, raw_tensor(size), tail=tail).message


def test_a_truth_value_is_0_or_1(manifest: Manifest) -> None:
    error = refusal(manifest, raw_tensor(4, datatype="BOOL"), tail=b"\0\1\2\1")
    assert "expected bytes 0 and 1 of BOOL, found 2" in error.message


def test_no_two_inputs_share_a_name(manifest: Manifest) -> None:
    assert "inputs.input: is given twice" in refusal(manifest, tensor(), tensor()).message


def test_every_input_is_needed() -> None:
    error = refusal(of(TOKENS, IMAGE), tensor(name="image", shape=[1, 2, 3], data=[0] * 6))
    assert error.message == "inputs.tokens: is missing"


def test_too_many_rows(manifest: Manifest) -> None:
    error = refusal(manifest, tensor(shape=[6, 4], data=ROW * 6))
    assert isinstance(error, LimitExceeded)
    assert error.details["limit"] == MAX_ROWS


@pytest.mark.parametrize("length", [b"-1", b"9999", b"1e2", b"", b"0x10", b"\xb2", b"9" * 100])
def test_the_length_of_the_json_lies_within_the_body(length: bytes, manifest: Manifest) -> None:
    with pytest.raises(MalformedBody, match="inference-header-content-length"):
        decode_infer(b"{}", length, manifest, MAX_ROWS)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is empty"),
        (b"[]", "the body: expected an object, found a list"),
        (b"{}", "inputs: is missing"),
        (b'{"inputs": [1]}', r"inputs\[0\]: expected an object, found a whole number"),
        (b'{"inputs": []}', "inputs.input: is missing"),
        (b'{"inputs": [], "id": 5}', "id: expected a string, found a whole number"),
        (b"[" * 100_000, "the body"),
    ],
)
def test_what_is_not_a_question(body: bytes, message: str, manifest: Manifest) -> None:
    with pytest.raises(InvalidRequest, match=message):
        decode_infer(body, None, manifest, MAX_ROWS)


def test_flags_are_true_or_false(manifest: Manifest) -> None:
    error = refusal(manifest, tensor(), parameters={"binary_data_output": 1})
    assert error.message == "parameters.binary_data_output: expected true or false"
    error = refusal(manifest, tensor(), outputs=[{"name": "label", "parameters": {"binary_data": "yes"}}])
    assert error.message == "outputs.label.parameters.binary_data: expected true or false"


# any bytes at all


@given(st.binary(max_size=200), st.one_of(st.none(), st.integers(-5, 250).map(lambda n: str(n).encode()), st.binary()))
def test_any_body_is_read_or_refused(body: bytes, length: bytes | None) -> None:
    try:
        decode_infer(body, length, ToyNet().manifest(), MAX_ROWS)
    except InvalidRequest:
        pass
    else:
        raise AssertionError("random bytes passed for a question")


JSON = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=3)
TENSORS = st.fixed_dictionaries(
    {
        "name": st.just("input") | JSON,
        "shape": st.just([1, 4]) | st.lists(st.integers(), max_size=3) | JSON,
        "datatype": st.sampled_from([*NUMERIC, "BYTES"]) | JSON,
    },
    optional={
        "parameters": st.fixed_dictionaries({"binary_data_size": st.integers(-1, 100) | JSON}) | JSON,
        "data": st.just(ROW) | st.lists(st.integers() | st.floats(allow_nan=False), max_size=5) | JSON,
    },
)


@given(st.lists(TENSORS, max_size=3), st.binary(max_size=100))
def test_any_description_is_read_or_refused(tensors: list[Any], tail: bytes) -> None:
    try:
        request = read(ToyNet().manifest(), *tensors, tail=tail)
    except InvalidRequest:
        return
    array = request.inputs["input"]
    assert array.dtype == np.float32
    assert array.shape[1:] == (4,)
    assert np.isfinite(array).all()


@given(st.sampled_from(NUMERIC), st.integers(1, MAX_ROWS), st.integers(-1, 170), st.binary(max_size=170))
def test_any_raw_bytes_are_read_or_refused(datatype: str, rows: int, size: int, tail: bytes) -> None:
    try:
        request = read(ToyNet().manifest(), raw_tensor(size, shape=[rows, 4], datatype=datatype), tail=tail)
    except InvalidInput:
        return
    assert request.inputs["input"].shape == (rows, 4)
    assert len(tail) == size


# compressed bodies


def test_a_bomb_is_not_unpacked() -> None:
    with pytest.raises(BodyTooLarge):
        decompress(zlib.compress(bytes(10**7)), "deflate", 1000)


@given(st.binary(max_size=100), st.sampled_from(["gzip", "deflate", "br", ""]))
def test_what_is_not_compressed_is_refused(body: bytes, encoding: str) -> None:
    with pytest.raises(InvalidRequest):
        decompress(body, encoding, 1000)


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("value", [0, 0.1234567890123456])
def test_a_long_tensor_is_read_as_a_short_one(nested: bool, value: float, manifest: Manifest) -> None:
    rows = np.full((30_000, 4), value) + np.arange(30_000)[:, None]
    data = rows.tolist() if nested else rows.ravel().tolist()
    body = json.dumps({"inputs": [tensor(shape=[30_000, 4], data=data)]}).encode()
    read = decode_infer(body, None, manifest, 30_000).inputs.fit(manifest)["input"]
    np.testing.assert_array_equal(read, rows.astype(np.float32))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("[" + ",".join(["[]"] * 1_000_000) + "]", "found 1000000"),
        ("[" + ",".join(["0"] * 1_000_000) + "]", "found 1000000"),
        ("[" + ",".join(["[0,0,0]"] * 30_000) + "]", "found 30000×3"),
        ("[" + ",".join(["0"] * 100_000) + "]", "found 100000"),
        ("[" + ",".join(["0"] * 100_000) + ',"a,b"]', "found a string"),
        ("[" + ",".join(["[0,0,0]"] * 29_999) + ",[0,null,0]]", "found null"),
    ],
)
def test_a_long_tensor_that_does_not_fit(data: str, message: str, manifest: Manifest) -> None:
    given = tensor(shape=[30_000, 4])
    del given["data"]
    body = json.dumps({"inputs": [given]}).replace('"inputs": [{', '"inputs": [{"data": ' + data + ", ").encode()
    with pytest.raises(InvalidInput) as refused:
        decode_infer(body, None, manifest, 30_000)
    assert refused.value.message.startswith("inputs.input.data: expected 30000×4 values of FP32")
    if "string" not in message:
        assert message in refused.value.message
