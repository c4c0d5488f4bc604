"""JSON from a caller: what is right is read, what is wrong is named by field, row and what was expected."""

import gzip
import json
import tracemalloc
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.decoding import decode_request
from service.api.requests import (
    MAX_DRAWN_SEED,
    MAX_JSON_INTEGER,
    PredictRequest,
    UncertaintyRequest,
    choose_seed,
    plan_sampling,
)
from service.config import Settings
from service.errors import InvalidInput, InvalidRequest, LimitExceeded, MalformedBody
from service.model.manifest import Manifest
from service.model.runtime import Array
from service.rows.json_chunks import CHUNK_BYTES, decode_seconds
from service.rows.json_rows import decode_inputs
from tests.jobs import NotedPauses
from tests.toy import ToyNet

MAX_ROWS = 5
MANIFEST = ToyNet().manifest()

TOKENS = {"name": "tokens", "dtype": "int32", "shape": (3,)}
IMAGE = {"name": "image", "dtype": "float32", "shape": (2, 3)}
PRICE = {"name": "price", "dtype": "float64", "shape": ()}


def of(*inputs: Mapping[str, object]) -> Manifest:
    return ToyNet().manifest(inputs=inputs)


def read(body: str | bytes, manifest: Manifest) -> dict[str, Array]:
    content = body.encode() if isinstance(body, str) else body
    return decode_inputs(decode_request(content, PredictRequest).inputs, manifest, MAX_ROWS)


def refusal_of(body: str | bytes, manifest: Manifest) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as refusal:
        read(body, manifest)
    return refusal.value


# the body


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"inputs": [[1, 2, 3, 4]',
        b'{"inputs": [[1, 2,, 4]]}',
        b"{'inputs': [[1, 2, 3, 4]]}",
        b'{"inputs": [[1, 2, 3, 4]]} and more',
        b'{"inputs": [[01, 2, 3, 4]]}',
        b'{"inputs": [[0x1, 2, 3, 4]]}',
        b"\xff\xfe\x00",
        '{"inputs": [[1, 2, 3, 4]]}'.encode("utf-16"),
        b"inputs=1",
    ],
)
def test_what_is_not_json(body: bytes, manifest: Manifest) -> None:
    error = refusal_of(body, manifest)
    assert isinstance(error, MalformedBody)
    assert error.message.startswith("the body is not JSON: ")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is empty; expected JSON"),
        (b" \n", "the body is empty; expected JSON"),
        ('{"inputs": []}'.encode("utf-16"), "the body is not JSON: it is UTF-16; expected UTF-8"),
        ('{"inputs": []}'.encode("utf-16-be"), "the body is not JSON: it is UTF-16; expected UTF-8"),
        (gzip.compress(b"{}", mtime=0), "the body is not JSON: it is gzip without a content-encoding header"),
    ],
)
def test_what_it_is_instead_of_json(body: bytes, message: str, manifest: Manifest) -> None:
    assert refusal_of(body, manifest).message == message


def test_a_byte_order_mark_is_passed_over(manifest: Manifest) -> None:
    body = '\ufeff{"inputs": [[1, 2, 3, 4]]}'.encode()
    np.testing.assert_array_equal(read(body, manifest)["input"], [[1, 2, 3, 4]])


@pytest.mark.parametrize(
    ("body", "found"),
    [("[]", "a list"), ("null", "null"), ('"inputs"', "a string"), ("5", "a whole number"), ("true", "true or false")],
)
def test_what_is_not_an_object(body: str, found: str, manifest: Manifest) -> None:
    error = refusal_of(body, manifest)
    assert isinstance(error, MalformedBody)
    assert error.message == f"the body: expected an object, found {found}"


@pytest.mark.parametrize("deep", ['{"inputs": ' + "[" * 200_000, '{"inputs": ' * 200_000])
def test_deep_nesting(deep: str, manifest: Manifest) -> None:
    error = refusal_of(deep, manifest)
    assert isinstance(error, MalformedBody)
    assert "nested too deeply" in error.message


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("input", "did you mean inputs?"),
        ("Inputs", "did you mean inputs?"),
        ("sample", "did you mean samples?"),
        ("seeds", "did you mean seed?"),
        ("temperature", f"expected {', '.join(UncertaintyRequest.__struct_fields__)}"),
    ],
)
def test_an_unknown_field_is_refused_with_the_nearest_one(given: str, hint: str) -> None:
    body = json.dumps({"inputs": [], given: 1}).encode()
    with pytest.raises(InvalidInput) as refusal:
        decode_request(body, UncertaintyRequest)
    assert refusal.value.message == f"{given}: there is no such field; {hint}"
    assert refusal.value.details == {"field": given, "expected": list(UncertaintyRequest.__struct_fields__)}


def test_predict_has_no_samples() -> None:
    with pytest.raises(InvalidInput, match="samples: there is no such field; expected inputs"):
        decode_request(b'{"inputs": [], "samples": 5}', PredictRequest)


def test_inputs_must_be_there(manifest: Manifest) -> None:
    error = refusal_of("{}", manifest)
    assert (error.message, error.details) == ("inputs: is missing", {"field": "inputs"})


def test_of_a_field_said_twice_the_last_counts(manifest: Manifest) -> None:
    """As in JavaScript, Python and most others; RFC 8259 leaves it open."""
    body = '{"inputs": [[0, 0, 0, 0]], "inputs": [[1, 2, 3, 4]]}'
    np.testing.assert_array_equal(read(body, manifest)["input"], [[1, 2, 3, 4]])


# samples and seed


def ask(**fields: Any) -> UncertaintyRequest:
    return decode_request(json.dumps({"inputs": [[1, 2, 3, 4]]} | fields).encode(), UncertaintyRequest)


@pytest.mark.parametrize("samples", [None, 1, 100])
@pytest.mark.parametrize("seed", [None, 0, 7, MAX_JSON_INTEGER, "random"])
def test_samples_and_seed_are_read(samples: int | None, seed: Any) -> None:
    asked = ask(samples=samples, seed=seed)
    assert (asked.samples, asked.seed) == (samples, seed)


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (0, "expected a whole number >= 1"),
        (-3, "expected a whole number >= 1"),
        (2.5, "expected a whole number or an object, found a number"),
        (True, "expected a whole number or an object, found true or false"),
        ("100", "expected a whole number or an object, found a string"),
        ([100], "expected a whole number or an object, found a list"),
    ],
)
def test_wrong_samples(samples: Any, expected: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        ask(samples=samples)
    assert refusal.value.message == f"samples: {expected}"
    assert refusal.value.details == {"field": "samples"}


@pytest.mark.parametrize("seed", [-1, MAX_JSON_INTEGER + 1, 2**64, 10**30, 1.5, True, "7", "Random", [7], {}])
def test_wrong_seed(seed: Any) -> None:
    with pytest.raises(InvalidInput) as refusal:
        ask(seed=seed)
    assert refusal.value.message == f'seed: expected a whole number from 0 to {MAX_JSON_INTEGER}, or "random"'
    assert refusal.value.details == {"field": "seed"}


def test_too_many_samples() -> None:
    limits = Settings(max_samples=10, max_row_samples=50)
    assert plan_sampling(ask(samples=10), MANIFEST, 5, limits).passes == 10
    with pytest.raises(LimitExceeded, match="samples: expected at most 10, found 11") as refusal:
        plan_sampling(ask(samples=11), MANIFEST, 1, limits)
    assert refusal.value.details == {"field": "samples", "given": 11, "limit": 10}
    with pytest.raises(LimitExceeded, match="at most 50 rows × samples, found 6 × 10"):
        plan_sampling(ask(samples=10), MANIFEST, 6, limits)


def test_the_seed_is_the_requested_one_or_the_default_or_drawn() -> None:
    assert choose_seed(7, default=3) == 7
    assert choose_seed(0, default=3) == 0
    assert choose_seed(None, default=3) == 3
    drawn = {choose_seed("random", default=3) for _ in range(20)}
    assert len(drawn) == 20
    assert all(0 <= seed <= MAX_DRAWN_SEED for seed in drawn)


# inputs

FINITE = "expected a finite number that fits float32"


@pytest.mark.parametrize("body", ['{"inputs": [[1, 2.5, -3e-2, 4]]}', '{"inputs": {"input": [[1, 2.5, -0.03, 4]]}}'])
def test_a_list_of_rows_with_or_without_the_inputs_name(body: str, manifest: Manifest) -> None:
    rows = read(body, manifest)["input"]
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, np.array([[1, 2.5, -0.03, 4]], dtype=np.float32))


@pytest.mark.parametrize(
    ("inputs", "place", "message"),
    [
        ("[[1, 2, 3]]", "inputs[0]", "expected 4 values, found 3 values; a row is 4 numbers"),
        ("[[1, 2, 3, 4, 5]]", "inputs[0]", "expected 4 values, found 5 values; a row is 4 numbers"),
        ("[[1, 2, 3, 4], [1, 2, 3, 4], [1]]", "inputs[2]", "expected 4 values, found 1 value; a row is 4 numbers"),
        ("[[1, 2, 3, 4], []]", "inputs[1]", "expected 4 values, found 0 values; a row is 4 numbers"),
        ("[]", "inputs", "is empty; expected at least one row of 4 numbers"),
        ("[[]]", "inputs[0]", "expected 4 values, found 0 values; a row is 4 numbers"),
        ("[1, 2, 3, 4]", "inputs[0]", "expected a list, found a whole number; expected rows of 4 numbers"),
        ("[[[1, 2, 3, 4]]]", "inputs[0][0]", "expected a number, found a list; expected rows of 4 numbers"),
        ('[[1, 2, "3", 4]]', "inputs[0][2]", "expected a number, found a string; expected rows of 4 numbers"),
        ("[[1, 2, null, 4]]", "inputs[0][2]", "expected a number, found null; expected rows of 4 numbers"),
        ("[[1, true, 3, 4]]", "inputs[0][1]", "expected a number, found true or false; expected rows of 4 numbers"),
        ("[[1, {}, 3, 4]]", "inputs[0][1]", "expected a number, found an object; expected rows of 4 numbers"),
        ('"1, 2, 3, 4"', "inputs", "expected a list, found a string; expected rows of 4 numbers"),
        ("null", "inputs", "expected a list, found null; expected rows of 4 numbers"),
        ("[[1, 2, 3, 4], null]", "inputs[1]", "expected a list, found null; expected rows of 4 numbers"),
        ("[[0, 0, 0, 0], [1, 2, NaN, 4]]", "inputs[1][2]", "expected a finite number, found NaN or an infinity"),
        ("[[Infinity, 2, 3, 4]]", "inputs[0][0]", "expected a finite number, found NaN or an infinity"),
        ("[[1, 2, 3, -Infinity]]", "inputs[0][3]", "expected a finite number, found NaN or an infinity"),
        ("[[1, 1e999, 3, 4]]", "inputs[0][1]", f"{FINITE}, found one that is too large"),
        ("[[1, 1e300, 3, 4]]", "inputs[0][1]", f"{FINITE}, found 1e+300"),
    ],
)
def test_a_wrong_row_is_named(inputs: str, place: str, message: str, manifest: Manifest) -> None:
    error = refusal_of(f'{{"inputs": {inputs}}}', manifest)
    assert isinstance(error, InvalidInput)
    assert error.message == f"{place}: {message}"
    assert error.details["field"] == place
    if "[" in place:
        assert error.details["row"] == int(place[len("inputs[")])


def test_the_details_have_the_widths(manifest: Manifest) -> None:
    error = refusal_of('{"inputs": [[1, 2, 3]]}', manifest)
    assert error.details == {"field": "inputs[0]", "row": 0, "expected": 4, "found": 3}


def test_too_many_rows(manifest: Manifest) -> None:
    error = refusal_of(json.dumps({"inputs": [[0, 0, 0, 0]] * (MAX_ROWS + 1)}), manifest)
    assert isinstance(error, LimitExceeded)
    assert error.details == {"field": "inputs", "given": MAX_ROWS + 1, "limit": MAX_ROWS}


@pytest.mark.parametrize(
    ("inputs", "place"),
    [
        ("[[[1, 2, 3], [4, 5, 6], [7, 8, 9]]]", "inputs[0]"),
        ("[[[1, 2, 3], [4, 5, 6]], [[1, 2, 3], [4, 5]]]", "inputs[1][1]"),
        ("[[[1, 2, 3, 4], [1, 2, 3, 4]]]", "inputs[0][0]"),
        ("[[1, 2, 3], [4, 5, 6]]", "inputs[0][0]"),
        ("[[[1, 2, 3], [4, 5, null]]]", "inputs[0][1][2]"),
    ],
)
def test_a_wrong_image_is_named(inputs: str, place: str) -> None:
    error = refusal_of(f'{{"inputs": {inputs}}}', of(IMAGE))
    assert error.details["field"] == place
    assert "2×3 numbers" in error.message


def test_an_image() -> None:
    image = read('{"inputs": [[[1, 2, 3], [4, 5, 6]]]}', of(IMAGE))["image"]
    np.testing.assert_array_equal(image, [[[1, 2, 3], [4, 5, 6]]])


def test_several_inputs_by_name() -> None:
    read_ = read('{"inputs": {"price": [9.5], "image": [[[1, 2, 3], [4, 5, 6]]]}}', of(IMAGE, PRICE))
    assert list(read_) == ["image", "price"]
    np.testing.assert_array_equal(read_["price"], [9.5])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ("[[1]]", "inputs: expected an object with a list of rows for each of image, price"),
        ('{"price": [1]}', "inputs.image: is missing"),
        ('{"price": [1], "image": [], "x": []}', "inputs.x: the model has no such input; it has image, price"),
        (
            '{"price": [1, 2], "image": [[[1, 2, 3], [4, 5, 6]]]}',
            "inputs: expected as many rows for each input; image has 1, price has 2",
        ),
        (
            '{"price": ["a"], "image": [[[1, 2, 3], [4, 5, 6]]]}',
            "inputs.price[0]: expected a number, found a string; expected rows of one number",
        ),
        (
            '{"price": [1], "image": [[[1, 2, 3]]]}',
            "inputs.image[0]: expected 2 values, found 1 value; a row is 2×3 numbers",
        ),
    ],
)
def test_wrong_inputs_by_name(inputs: str, message: str) -> None:
    assert refusal_of(f'{{"inputs": {inputs}}}', of(IMAGE, PRICE)).message == message


def test_token_ids() -> None:
    tokens = read('{"inputs": [[1, 2, -3]]}', of(TOKENS))["tokens"]
    assert tokens.dtype == np.int32
    np.testing.assert_array_equal(tokens, [[1, 2, -3]])


@pytest.mark.parametrize("value", ["1.5", "3000000000", "1e3", '"a"', "true"])
def test_wrong_token_ids(value: str) -> None:
    error = refusal_of(f'{{"inputs": [[0, 0, 0], [1, {value}, 3]]}}', of(TOKENS))
    assert isinstance(error, InvalidInput)
    assert error.details == {"field": "inputs[1][1]", "row": 1}


# long bodies


def pauses_of(body: bytes, manifest: Manifest, max_rows: int) -> list[float]:
    """The seconds left at each pause while a body is decoded."""
    job = NotedPauses()
    decode_inputs(decode_request(body, PredictRequest).inputs, manifest, max_rows, job)
    return job.left


@pytest.mark.parametrize("row", [[0, 0, 0, 0], [0.1234567890123456] * 4])
def test_long_bodies_are_decoded_with_a_pause_before_each_chunk(row: list[float], manifest: Manifest) -> None:
    body = json.dumps({"inputs": [row] * 40_000}).encode().replace(b" ", b"")
    assert len(pauses_of(body, manifest, 40_000)) >= len(body) / CHUNK_BYTES - 1
    rows = decode_inputs(decode_request(body, PredictRequest).inputs, manifest, 40_000)["input"]
    np.testing.assert_array_equal(rows, np.full((40_000, 4), np.float32(row[0])))


def test_a_pause_has_the_seconds_that_are_left(manifest: Manifest) -> None:
    body = json.dumps({"inputs": [[1, 2, 3, 4]] * 40_000}).encode()
    left = pauses_of(body, manifest, 40_000)
    assert left == sorted(left, reverse=True)
    assert left[0] == pytest.approx(decode_seconds(body), rel=0.01)
    assert left[-1] < left[0] / 10


@pytest.mark.parametrize("row", ["[]", "[0,0,0,0]", "[ ]"])
def test_rows_are_counted_before_they_are_objects(row: str, manifest: Manifest) -> None:
    body = f'{{"inputs": [{",".join([row] * 1_000_000)}]}}'.encode()
    inputs = decode_request(body, PredictRequest).inputs
    tracemalloc.start()
    with pytest.raises(LimitExceeded, match="at most 10000 rows, found 1000000"):
        decode_inputs(inputs, manifest, 10_000)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2 * len(body)


def test_a_row_too_long_is_counted_before_it_is_objects(manifest: Manifest) -> None:
    body = b'{"inputs": [[1, 2, 3, 4], [%s]]}' % b",".join([b"0"] * 1_000_000)
    inputs = decode_request(body, PredictRequest).inputs
    tracemalloc.start()
    error = refusal_of(body, manifest)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert error.message == "inputs[1]: expected 4 numbers, found 1000000 values"
    assert error.details == {"field": "inputs[1]", "row": 1, "expected": 4, "found": 1_000_000}
    assert most < 4 * len(body)
    assert memoryview(inputs).nbytes > CHUNK_BYTES


@pytest.mark.parametrize("inputs", [(PRICE,), (IMAGE,), (TOKENS,)])
def test_long_bodies_of_any_shape_are_decoded(inputs: tuple[Mapping[str, object]]) -> None:
    manifest = of(*inputs)
    [spec] = manifest.inputs
    expected = np.arange(50_000 * int(np.prod(spec.shape))).reshape(-1, *spec.shape).astype(spec.dtype)
    body = json.dumps({"inputs": expected.astype(int).tolist()}).encode()
    read_ = decode_inputs(decode_request(body, PredictRequest).inputs, manifest, 50_000)[spec.name]
    np.testing.assert_array_equal(read_, expected)
    with pytest.raises(LimitExceeded, match="at most 49999 rows, found 50000"):
        decode_inputs(decode_request(body, PredictRequest).inputs, manifest, 49_999)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("[1, 2, 3]", "inputs[4]: expected 4 values, found 3 values; a row is 4 numbers"),
        ("[1, null, 3, 4]", "inputs[4][1]: expected a number, found null; expected rows of 4 numbers"),
        ("[1, [], 3, 4]", "inputs[4][1]: expected a number, found a list; expected rows of 4 numbers"),
        ("[1, 1e300, 3, 4]", "inputs[4][1]: expected a finite number that fits float32, found 1e+300"),
        ("7", "inputs[4]: expected a list, found a whole number; expected rows of 4 numbers"),
        ("{}", "inputs[4]: expected a list, found an object; expected rows of 4 numbers"),
    ],
)
def test_a_wrong_row_of_a_long_body_is_named(wrong: str, message: str, manifest: Manifest) -> None:
    row = f"[1, 2, 3, {' ' * CHUNK_BYTES} 4]"
    body = f'{{"inputs": [{", ".join([row] * 4)}, {wrong}]}}'
    assert refusal_of(body, manifest).message == message


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ("[" * 50 + "1" + "]" * 50, "inputs[0][0]: expected a number, found a list; expected rows of 4 numbers"),
        ('["a"]', "inputs[0]: expected a list, found a string; expected rows of 4 numbers"),
        ('"a"', "inputs: expected a list, found a string; expected rows of 4 numbers"),
    ],
)
def test_what_is_long_and_no_rows(inputs: str, message: str, manifest: Manifest) -> None:
    padded = inputs.replace("a", "a" * CHUNK_BYTES).replace("1", "1" + " " * CHUNK_BYTES)
    assert refusal_of(f'{{"inputs": {padded}}}', manifest).message == message


def test_many_names_are_no_inputs(manifest: Manifest) -> None:
    body = json.dumps({"inputs": {str(i): 0 for i in range(100_000)}})
    assert refusal_of(body, manifest).message == "inputs: expected an object with a list of rows for each of input"


@pytest.mark.parametrize("number", ["NaN", "-Infinity"])
def test_the_error_of_a_long_body_has_the_byte_that_is_not_finite(number: str, manifest: Manifest) -> None:
    body = json.dumps({"inputs": [[1, 2, 3, 4]] * 40_000})[:-2] + f", [1, {number}, 3, 4]]}}"
    error = refusal_of(body, manifest)
    place = body.index(number.removeprefix("-"))
    assert error.message == f"the body: expected finite numbers, found NaN or an infinity at byte {place}"


@pytest.mark.parametrize("field", ["quantiles", "ablate", "samples", "coverage"])
def test_options_are_few(field: str) -> None:
    body = json.dumps({"inputs": [[1, 2, 3, 4]], field: [0] * 500_000}).encode()
    tracemalloc.start()
    with pytest.raises(LimitExceeded, match="the body: expected at most 262144 bytes beside inputs, found 1500"):
        decode_request(body, UncertaintyRequest)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2 * len(body)


def test_the_fields_beside_many_rows_are_read_as_ever() -> None:
    rows = [[1, 2, 3, 4]] * 40_000
    asked = ask(inputs=rows, samples=7, seed="random", quantiles=[0.5])
    assert (asked.samples, asked.seed, asked.quantiles, asked.return_samples) == (7, "random", [0.5], False)
    for fields, message in [
        ({"sample": 1}, "sample: there is no such field; did you mean samples?"),
        ({"samples": 0}, "samples: expected a whole number >= 1"),
    ]:
        with pytest.raises(InvalidInput) as refusal:
            ask(inputs=rows, **fields)
        assert refusal.value.message == message
    with pytest.raises(InvalidInput, match="inputs: is missing"):
        decode_request(json.dumps({"seed": 1}).encode() + b" " * 300_000, UncertaintyRequest)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8) | st.just("input"), inner, max_size=3)
    ),
    max_leaves=30,
)
ROWS = st.lists(st.lists(st.floats() | st.integers(), min_size=4, max_size=4), max_size=6)


@given(JSON | ROWS)
def test_any_json_is_read_or_refused(inputs: Any) -> None:
    try:
        rows = read(json.dumps({"inputs": inputs}), ToyNet().manifest())["input"]
    except InvalidRequest as error:
        json.dumps(error.details)
        return
    assert rows.shape[1:] == (4,)
    assert 1 <= len(rows) <= MAX_ROWS
    assert np.isfinite(rows).all()


@given(ROWS.filter(bool).filter(lambda rows: len(rows) <= MAX_ROWS))
def test_what_fits_is_read_as_numpy_would(inputs: list[list[float]]) -> None:
    with np.errstate(over="ignore"):
        expected = np.array(inputs, dtype=np.float64).astype(np.float32)
    if np.isfinite(expected).all():
        found = read(json.dumps({"inputs": inputs}), ToyNet().manifest())["input"]
        np.testing.assert_array_equal(found, expected)


@given(st.binary(max_size=60))
def test_any_bytes_are_refused_in_words(body: bytes) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        read(body, ToyNet().manifest())
    assert refusal.value.message


def test_a_field_without_a_name_is_an_unknown_field() -> None:
    """«the body: object contains unknown field ``», 400: the empty name is falsy."""
    with pytest.raises(InvalidInput, match="there is no such field"):
        decode_request(b'{"": 1}', PredictRequest)


def test_a_whole_number_far_too_large_is_named_by_row() -> None:
    manifest = ToyNet().manifest(inputs=({"name": "tokens", "dtype": "int64", "shape": (2,)},))
    with pytest.raises(InvalidInput) as refusal:
        decode_inputs(decode_request(b'{"inputs": [[1, 2], [3, %d]]}' % 10**30, PredictRequest).inputs, manifest, 10)
    assert refusal.value.details == {"field": "inputs[1][1]", "row": 1}
