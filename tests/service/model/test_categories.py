"""Categorical features: names and numbers get the same answer; any other value is refused, naming what was expected."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openapi_spec_validator import validate
from pydantic import ValidationError
from tritonclient.grpc import service_pb2_grpc
from typer.testing import CliRunner, Result

from service.__main__ import cli
from service.api import schemas
from service.api.decoding import decode_request
from service.api.requests import PredictRequest
from service.bulk.files import read_rows
from service.config import Settings
from service.errors import InvalidInput, InvalidRequest, LimitExceeded, MalformedBody
from service.http.app import create_app
from service.model.manifest import Manifest, read_manifest
from service.model.runtime import Array
from service.rows.formats import Format
from service.rows.inputs import check_inputs
from service.rows.json_chunks import CHUNK_BYTES
from service.rows.json_rows import decode_inputs
from tests.conftest import running_server
from tests.jobs import NotedPauses
from tests.service.archives import npy, npz
from tests.service.oip.test_grpc import grpc_service, refused, request
from tests.toy import Floats, ToyNet

FEATURES = ("age", "city", "rooms", "paid")
CITIES = ("Oslo", "Paris", "Rome")
CATEGORIES = {"city": CITIES, "paid": ("false", "true")}
MANY = tuple(f"street {i}" for i in range(1000))


class Homes(ToyNet):
    """The toy, whose second and fourth values are numbers of categories."""

    def rows(self, count: int, seed: int = 1) -> Floats:
        rows = super().rows(count, seed)
        rows[:, 1] = np.random.default_rng(seed).integers(0, len(CITIES), count)
        rows[:, 3] = np.random.default_rng(seed + 1).integers(0, 2, count)
        return rows


def homes(**changes: Any) -> Manifest:
    return ToyNet().manifest(**{"features": FEATURES, "categories": CATEGORIES} | changes)


MANIFEST = homes()


def named(rows: Floats) -> list[list[float | str]]:
    """The same rows with names, made by hand."""
    return [[age, CITIES[int(city)], rooms, ("false", "true")[int(paid)]] for age, city, rooms, paid in rows.tolist()]


def read(inputs: Any, manifest: Manifest = MANIFEST, max_rows: int = 100) -> Array:
    body = json.dumps({"inputs": inputs}, ensure_ascii=False).encode()
    return decode_inputs(decode_request(body, PredictRequest).inputs, manifest, max_rows)["input"]


def refusal_of(inputs: Any, manifest: Manifest = MANIFEST, max_rows: int = 100) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as refusal:
        read(inputs, manifest, max_rows)
    return refusal.value


# the manifest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"categories": {"town": CITIES}}, "categories.town: must be in features exactly once"),
        ({"features": ("city", "city", "rooms", "paid")}, "categories.city: must be in features exactly once"),
        ({"categories": {"city": ("Rome", "Rome")}}, "categories.city: must be different names"),
        ({"features": FEATURES[:3]}, "categories require exactly one input, of shape (features,)"),
        ({"inputs": ({"name": "input", "dtype": "int64", "shape": (4,)},)}, "and a float dtype"),
        ({"inputs": ({"name": "input", "dtype": "float32", "shape": (2, 2)},)}, "one input, of shape (features,)"),
        ({"inputs": [{"name": name, "dtype": "float32", "shape": (4,)} for name in "ab"]}, "require exactly one input"),
        ({"categories": {"city": ("Rome",)}}, "at least 2 items"),
        ({"categories": {"city": tuple(map(str, range(1001)))}}, "at most 1000 items"),
        ({"categories": {"city": (1, 2)}}, "valid string"),
    ],
)
def test_a_manifest_whose_categories_do_not_fit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        homes(**changes)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    folder = Homes().publish(tmp_path, features=FEATURES, categories=CATEGORIES)
    assert read_manifest(folder).categories == CATEGORIES


def test_a_model_without_categories_has_none(manifest: Manifest) -> None:
    assert manifest.categories == {}
    assert manifest.categorical is None


# JSON


def test_names_become_their_positions() -> None:
    inputs = [[63.5, "Rome", 2, "true"], [1, "Oslo", 0, "false"], [5, 1, 2, 1]]
    expected = np.array([[63.5, 2, 2, 1], [1, 0, 0, 0], [5, 1, 2, 1]], dtype=np.float32)
    for given_ in (inputs, {"input": inputs}):
        rows = read(given_)
        assert rows.dtype == np.float32
        assert rows.flags.c_contiguous
        np.testing.assert_array_equal(rows, expected)


def test_true_and_false_are_those_names() -> None:
    np.testing.assert_array_equal(read([[0, "Oslo", 0, True], [0, 0, 0, False]])[:, 3], [1, 0])


CITY = 'city: expected one of "Oslo", "Paris", "Rome", or its number below 3; found'


@pytest.mark.parametrize(
    ("row", "place", "message"),
    [
        ([0, "Roma", 0, 1], "[1]", f'{CITY} "Roma"; did you mean "Rome"?'),
        ([0, "ROME", 0, 1], "[1]", f'{CITY} "ROME"; did you mean "Rome"?'),
        ([0, " Oslo", 0, 1], "[1]", f'{CITY} " Oslo"; did you mean "Oslo"?'),
        ([0, "New York", 0, 1], "[1]", f'{CITY} "New York"'),
        ([0, "1", 0, 1], "[1]", f'{CITY} "1"'),
        ([0, "", 0, 1], "[1]", f'{CITY} ""'),
        ([0, "x" * 100_000, 0, 1], "[1]", f'{CITY} "{"x" * 100}"'),
        ([0, 3, 0, 1], "[1]", f"{CITY} 3"),
        ([0, -1, 0, 1], "[1]", f"{CITY} -1"),
        ([0, 1.5, 0, 1], "[1]", f"{CITY} 1.5"),
        ([0, True, 0, 1], "[1]", f"{CITY} true"),
        ([0, None, 0, 1], "[1]", f"{CITY} null"),
        ([0, ["Rome"], 0, 1], "[1]", f"{CITY} a list"),
        (["63", 0, 0, 1], "[0]", "age: expected a number, found a string"),
        ([0, 0, True, 1], "[2]", "rooms: expected a number, found true or false"),
        ([0, 0, 0, "yes"], "[3]", 'paid: expected one of "false", "true", or its number below 2; found "yes"'),
        ([0, "Rome", 0], "", "expected 4 values, found 3; a row is age, city, rooms, paid"),
        ([0, "Rome", 0, 1, 0], "", "expected 4 values, found 5; a row is age, city, rooms, paid"),
    ],
)
def test_an_unknown_category_is_refused_with_its_place(row: list[Any], place: str, message: str) -> None:
    error = refusal_of([[0, "Rome", 0, "true"], row])
    assert isinstance(error, InvalidInput)
    assert error.message == f"inputs[1]{place}: {message}"
    assert (error.details["field"], error.details["row"]) == (f"inputs[1]{place}", 1)
    if "expected one of" in message:
        column = int(place[1])
        assert error.details["feature"] == FEATURES[column]
        assert error.details["expected"] == list(CATEGORIES[FEATURES[column]])


def test_an_error_lists_ten_names_at_most() -> None:
    error = refusal_of([[0, "street 77x", 0, 0]], homes(categories={"city": MANY}))
    assert '"street 0", "street 1", ' in error.message
    assert '"street 9" and 990 more, or its number below 1000; found "street 77x"' in error.message
    assert 'did you mean "street 77"?' in error.message
    assert error.details["expected"] == list(MANY[:10])


def test_names_that_are_numbers_are_written_as_strings() -> None:
    """5 would be read as the grade by some, as the sixth grade by others."""
    manifest = homes(categories={"city": ("5", "1", "2")})
    np.testing.assert_array_equal(read([[0, "5", 0, 0], [0, "2", 0, 0]], manifest)[:, 1], [0, 2])
    message = refusal_of([[0, 1, 0, 0]], manifest).message
    assert message.startswith('inputs[0][1]: city: expected one of "5", "1", "2"; found 1; did you mean "1"?')
    np.testing.assert_array_equal(read_rows(b"0,5,0,0\n0,2,0,0\n", "csv", manifest)["input"][:, 1], [0, 2])
    with pytest.raises(InvalidInput, match=r'found "5\.0"'):
        read_rows(b"0,5.0,0,0\n", "csv", manifest)
    with pytest.raises(InvalidInput, match="line 1, column 2: city: expected one of"):
        read_rows(b"0,0,0,0\n", "csv", manifest)
    array = np.array([[0, 1.0, 0, 0], [0, 3, 0, 0]])
    np.testing.assert_array_equal(check_inputs({"input": array[:1]}, manifest, 1)["input"], array[:1])  # a position
    with pytest.raises(InvalidInput, match=r'inputs\[1\]\[1\]: city: .*"2", or its number below 3; found 3'):
        check_inputs({"input": array}, manifest, 2)


@pytest.mark.parametrize("name", ["Zürich", "[0, 10)", "a:b", 'say "x"', "a, b", "new\nline", "", "null", "{}"])
def test_a_name_may_be_anything(name: str) -> None:
    manifest = homes(categories={"city": ("a", name)})
    rows = [[i, name, 0, 0] for i in range(20_000)]
    for inputs in (rows[:1], rows, {"input": rows}):
        decoded = read(inputs, manifest, max_rows=20_000)
        assert (decoded[:, 1] == 1).all()
    line = '0,"' + name.replace('"', '""') + '",0,0\n'
    assert read_rows(line.encode() * 2, "csv", manifest)["input"][:, 1].tolist() == [1, 1]
    lines = "\n".join(json.dumps(row) for row in rows[:2000])
    assert (read_rows(lines.encode(), "jsonl", manifest)["input"][:, 1] == 1).all()


# long bodies


def test_long_bodies_are_decoded_with_pauses() -> None:
    rows = Homes().rows(20_000)
    body = json.dumps({"inputs": named(rows)}).encode()
    raw = decode_request(body, PredictRequest).inputs
    job = NotedPauses()
    np.testing.assert_array_equal(decode_inputs(raw, MANIFEST, 20_000, job)["input"], rows)
    assert len(job.left) >= len(body) / CHUNK_BYTES - 1


@pytest.mark.parametrize(
    ("row", "place"),
    [
        ([0, "Roma", 0, 1], "[1]"),
        ([0, 7, 0, 1], "[1]"),
        (["x", 0, 0, 1], "[0]"),
        ([0], ""),
        ([0, "Rome", 0, 1] * 9_000, ""),
    ],
)
def test_a_wrong_row_of_a_long_body_is_named(row: list[Any], place: str) -> None:
    inputs = [*named(Homes().rows(5_000)), row, [0, 0, 0, 0]]
    assert refusal_of(inputs, max_rows=10_000).details["field"] == f"inputs[5000]{place}"


def test_rows_of_a_long_body_are_counted_before_they_are_decoded() -> None:
    inputs = [[0, "Rome", 0, 1]] * 20_000
    for manifest in (MANIFEST, homes(categories={"city": ("[[", "Rome")})):
        assert isinstance(refusal_of(inputs, manifest, max_rows=5_000), LimitExceeded)


@pytest.mark.parametrize(
    ("inputs", "field"), [({"x": [[0]]}, "inputs.x"), ({}, "inputs.input"), ({"input": [], "y": []}, "inputs.y")]
)
def test_an_object_names_the_input(inputs: Any, field: str) -> None:
    assert refusal_of(inputs).details["field"] == field


@pytest.mark.parametrize("text", [rb'[[0, "\ud800", 0, 1]]', b'[[0, "\xff", 0, 1]]', b'{"\xff": [[0, 1, 0, 1]]}'])
def test_names_that_are_no_text(text: bytes) -> None:
    with pytest.raises(MalformedBody):
        read_rows(b'{"inputs": ' + text + b"}", "json", MANIFEST)


# files


@pytest.mark.parametrize(
    "content",
    [
        b"63.5,Rome,2,true\n1,Oslo,0,false\n",
        b"63.5,2,2,1\n1,0,0,0.0\n",
        b"63.5, Rome ,2,true\n1,0, 0 ,false\n",
        b"63.5,Rome,2,TRUE\n1,Oslo,0, False\n",
        b"age,city,rooms,paid\n63.5,Rome,2,true\n1,Oslo,0,false\n",
        b"id;paid;city;age;rooms\nx;true;Rome;63.5;2\ny;false;0;1;0\n",
    ],
)
def test_csv(content: bytes) -> None:
    rows = read_rows(content, "csv", MANIFEST)["input"]
    np.testing.assert_array_equal(rows, [[63.5, 2, 2, 1], [1, 0, 0, 0]])


def test_a_csv_of_names_alone_needs_no_header() -> None:
    categories = {"age": ("young", "old"), "city": CITIES, "rooms": ("few", "many"), "paid": ("no", "yes")}
    manifest = homes(categories=categories)
    lines = b"old,Rome,few,yes\nyoung,Oslo,many,no\n"
    for content in (lines, b"age,city,rooms,paid\n" + lines):
        np.testing.assert_array_equal(read_rows(content, "csv", manifest)["input"], [[1, 2, 0, 1], [0, 0, 1, 0]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"0,Rome,0,1\n0,Roma,0,1\n", f'line 2, column 2: {CITY} "Roma"; did you mean "Rome"?'),
        (b"city,age,rooms,paid\n7,0,0,1\n", f"line 2, column 1: {CITY} 7"),
        (b"0,,0,1\n", f"line 1, column 2: {CITY} no value"),
        (b"0,1e999,0,1\n", f"line 1, column 2: {CITY} inf"),
        (b"x,Rome,0,1\n", "line 1, column 1: expected a number, found 'x'"),
    ],
)
def test_a_wrong_cell_is_named(content: bytes, message: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        read_rows(content, "csv", MANIFEST)
    assert refusal.value.message == message


def test_json_lines_by_feature_or_as_rows() -> None:
    lines = b'{"city": "Rome", "age": 63.5, "paid": "true", "rooms": 2}\n[1, "Oslo", 0, false]\n'
    rows = read_rows(lines, "jsonl", MANIFEST)["input"]
    np.testing.assert_array_equal(rows, [[63.5, 2, 2, 1], [1, 0, 0, 0]])
    with pytest.raises(InvalidInput, match=r'line 1: city: .*; found "Roma"; did you mean "Rome"'):
        read_rows(b'{"city": "Roma", "age": 63.5, "paid": "true", "rooms": 2}', "jsonl", MANIFEST)


@pytest.mark.parametrize("value", [3, -1, 0.5])
def test_arrays_hold_numbers_of_categories(value: float) -> None:
    rows = Homes().rows(3)
    packs: dict[Format, Callable[[Floats], bytes]] = {"npy": npy, "npz": lambda array: npz(input=array)}
    for kind, pack in packs.items():
        np.testing.assert_array_equal(read_rows(pack(rows), kind, MANIFEST)["input"], rows)
        wrong = rows.copy()
        wrong[2, 1] = value
        with pytest.raises(InvalidInput) as refusal:
            read_rows(pack(wrong), kind, MANIFEST)
        assert refusal.value.message == f"inputs[2][1]: {CITY} {value}"
        assert refusal.value.details["row"] == 2


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), *[st.integers(0, 2)] * 2, st.integers(0, 1)), min_size=1, max_size=9))
def test_names_and_numbers_are_the_same_rows(rows: list[tuple[float, int, int, int]]) -> None:
    numbers = np.array(rows, dtype=np.float32)
    np.testing.assert_array_equal(read(named(numbers)), numbers)
    np.testing.assert_array_equal(read(numbers.tolist()), numbers)


@given(st.lists(st.lists(st.none() | st.booleans() | st.floats() | st.sampled_from(CITIES) | st.text(), max_size=5)))
def test_anything_is_read_or_refused(rows: list[list[Any]]) -> None:
    try:
        decoded = read(rows)
    except InvalidRequest as error:
        json.dumps(error.details)
        return
    assert np.isin(decoded[:, 1], [0, 1, 2]).all()


# a service of such a model


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("homes")
    Homes().publish(folder, name="homes", features=FEATURES, categories=CATEGORIES)
    return folder


@pytest.fixture(scope="module")
def server(models: Path) -> Iterator[httpx.Client]:
    with running_server(create_app(Settings(models=models))) as client:
        yield client


@given(seed=st.integers(0, 2**32), count=st.integers(1, 5), number=st.integers(0, 3))
@settings(max_examples=30)
def test_names_and_numbers_get_the_same_bytes(server: httpx.Client, seed: int, count: int, number: int) -> None:
    rows = Homes().rows(count, seed)
    mixed = [*named(rows)[:number], *rows.tolist()[number:]]
    for path, fields in (("/predict", {}), ("/uncertainty", {"samples": 10, "seed": seed})):
        by_name, by_number, by_both = (
            server.post(path, json={"inputs": inputs} | fields) for inputs in (named(rows), rows.tolist(), mixed)
        )
        assert by_name.status_code == 200, by_name.text
        assert by_name.content == by_number.content == by_both.content


def test_a_category_changes_the_answer(server: httpx.Client) -> None:
    oslo, rome = (server.post("/predict", json={"inputs": [[1, city, 2, "true"]]}).json() for city in ("Oslo", "Rome"))
    assert oslo["predictions"] != rome["predictions"]


def test_an_unknown_name_is_refused_by_the_service(server: httpx.Client) -> None:
    reply = server.post("/predict", json={"inputs": [[63.5, "Roma", 2, 1]]})
    assert reply.status_code == 422
    assert reply.json()["error"] == {
        "code": "invalid_input",
        "message": f'inputs[0][1]: {CITY} "Roma"; did you mean "Rome"?',
        "details": {"field": "inputs[0][1]", "row": 0, "feature": "city", "expected": list(CITIES)},
    }


def test_the_open_inference_protocol_takes_numbers(server: httpx.Client) -> None:
    def infer(row: list[Any], datatype: str = "FP32") -> httpx.Response:
        tensor = {"name": "input", "shape": [1, 4], "datatype": datatype, "data": row}
        return server.post("/v2/models/homes/infer", json={"inputs": [tensor], "outputs": [{"name": "probabilities"}]})

    reply = infer([63.5, 2, 2, 1])
    assert reply.status_code == 200, reply.text
    [answer] = server.post("/predict", json={"inputs": [[63.5, "Rome", 2, "true"]]}).json()["predictions"]
    np.testing.assert_allclose(reply.json()["outputs"][0]["data"], answer["probabilities"], rtol=1e-6)
    for wrong in (3, 0.5):
        reply = infer([63.5, wrong, 2, 1])
        assert reply.status_code == 400
        assert reply.json()["error"] == f"inputs[0][1]: {CITY} {wrong}"
    assert infer(["63.5", "Rome", "2", "1"], "BYTES").status_code == 400


def test_grpc_takes_numbers(server: httpx.Client, models: Path, tmp_path: Path) -> None:
    def infer(row: list[float]) -> Any:
        tensor = {"contents": {"fp32_contents": row}}
        return stub.ModelInfer(request(model_name="homes", tensor=tensor, outputs=[{"name": "probabilities"}]))

    with (
        grpc_service(tmp_path, DROPSERVE_MODELS=str(models)) as (_, address),
        grpc.insecure_channel(address) as channel,
    ):
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        [raw] = infer([63.5, 2, 2, 1]).raw_output_contents
        message = refused(lambda: infer([63.5, 3, 2, 1]), grpc.StatusCode.INVALID_ARGUMENT)
    [answer] = server.post("/predict", json={"inputs": [[63.5, "Rome", 2, "true"]]}).json()["predictions"]
    np.testing.assert_allclose(np.frombuffer(raw, dtype=np.float32), answer["probabilities"], rtol=1e-6)
    assert message == f"inputs[0][1]: {CITY} 3"


def test_the_model_tells_its_categories(server: httpx.Client) -> None:
    shown = server.get("/v1/models/homes").json()
    schemas.ModelDetail.model_validate(shown)
    assert shown["categories"] == {feature: list(names) for feature, names in CATEGORIES.items()}


def test_the_description_shows_names(server: httpx.Client) -> None:
    api = server.get("/openapi.json").json()
    validate(api)
    for path in ("/predict", "/uncertainty", "/v1/models/{name}/predict"):
        operation = api["paths"][path]["post"]
        body = operation["requestBody"]["content"]["application/json"]["example"]
        [[_, city, _, paid]] = body["inputs"]
        assert city in CITIES
        assert paid in ("false", "true")
        reply = server.post(path.format(name="homes"), json=body)
        assert reply.json() == operation["responses"]["200"]["content"]["application/json"]["example"]
    for schema in ("PredictBody", "UncertaintyBody"):
        described = api["components"]["schemas"][schema]["properties"]["inputs"]["description"]
        assert described.endswith('The categories of homes: `city`: "Oslo", "Paris", "Rome"; `paid`: "false", "true".')


def test_the_described_schema_takes_names(server: httpx.Client) -> None:
    row = server.get("/openapi.json").json()["components"]["schemas"]["Row"]
    assert "type" not in row
    assert "categorical" in row["description"]


def run(*arguments: str | Path, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], input=stdin)


def test_check_tells_of_categories(models: Path) -> None:
    result = run("check", models / "homes" / "1")
    assert result.exit_code == 0
    assert "; dropout at hidden (p = 0.5, 32); categories of city (3), paid (2)\n" in result.stdout


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.csv", "63.5,Rome,2,true\n1,0,0,0\n"),
        ("header.csv", "paid,rooms,city,age\ntrue,2,Rome,63.5\nfalse,0,Oslo,1\n"),
        ("rows.json", '[[63.5, "Rome", 2, true], [1, "Oslo", 0, 0]]'),
        ("rows.jsonl", '[63.5, "Rome", 2, 1]\n{"age": 1, "city": "Oslo", "rooms": 0, "paid": "false"}\n'),
    ],
)
def test_a_file_is_scored_as_the_service_would(
    server: httpx.Client, models: Path, tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / name).write_text(content)
    result = run("predict", tmp_path / name, "--models", models)
    assert result.exit_code == 0, result.stderr
    expected = server.post("/predict", json={"inputs": [[63.5, 2, 2, 1], [1, 0, 0, 0]]})
    assert result.stdout_bytes == expected.content + b"\n"


def test_an_invalid_cell_is_reported_in_one_line(models: Path) -> None:
    result = run("predict", "-", "--models", models, stdin=b"63.5,Roma,2,true\n")
    assert result.exit_code == 1
    assert result.stderr == f'Error: stdin: line 1, column 2: {CITY} "Roma"; did you mean "Rome"?\n'


def test_golden_rows_of_no_category_are_refused(tmp_path: Path) -> None:
    folder = ToyNet().publish(tmp_path, features=FEATURES, categories=CATEGORIES)  # its rows are not whole numbers
    result = run("check", folder)
    assert result.exit_code == 1
    assert "golden.npz: does not fit the model: inputs[0][1]: city: expected one of" in result.stderr


def test_the_documented_example_is_true(server: httpx.Client) -> None:
    page = (Path(__file__).parents[3] / "docs" / "api.md").read_text(encoding="utf-8")
    section = re.search(r"^## Categories$(.*?)^## ", page, re.MULTILINE | re.DOTALL)
    assert section
    shown, asked, refusal = map(json.loads, re.findall(r"```json\n(.*?)```", section[1], re.DOTALL))
    assert shown.items() <= server.get("/v1/models/homes").json().items()
    assert server.post("/predict", json=asked).status_code == 200
    right, wrong = asked["inputs"]
    reply = server.post("/predict", json={"inputs": [right, [wrong[0], "Roma", *wrong[2:]]]})
    assert reply.json() == refusal
