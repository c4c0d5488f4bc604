"""Files of rows: JSON, CSV, NPZ and NPY, and where each is wrong."""

import json

import numpy as np
import pytest

from service.bulk.files import read_rows
from service.errors import InvalidInput, InvalidRequest, MalformedBody
from service.model.manifest import Manifest
from service.rows.formats import Format, find_format
from tests.service.archives import deflate_damaged, npy, npz, stored
from tests.toy import ToyNet

ROWS = np.array([[1, 2.5, -3, 4], [5, 6, 7, 8]], dtype=np.float32)
IMAGE = {"name": "image", "dtype": "float32", "shape": (2, 2)}


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("json", json.dumps(ROWS.tolist()).encode()),
        ("json", json.dumps({"inputs": ROWS.tolist()}).encode()),
        ("json", json.dumps({"inputs": {"input": ROWS.tolist()}}, indent=2).encode()),
        ("csv", b"1,2.5,-3,4\n5,6,7,8\n"),
        ("csv", b"1,2.5,-3,4\r\n5,6,7,8"),
        ("csv", b"\xef\xbb\xbf1, 2.5, -3, 4\n\n5,6,7,8\n\n"),
        ("csv", b"x0,x1,x2,x3\n1,2.5,-3,4\n5,6,7,8\n"),
        ("csv", b"x3,x1,x0,x2\n4,2.5,1,-3\n8,6,5,7\n"),
        ("csv", b'id,x3, x1 ,x0,"x2",label\na,4,2.5,1,-3,cat\nb,8,6,5,7,dog\n'),
        ("csv", b"1;2.5;-3;4\n5;6;7;8\n"),
        ("csv", b"1\t2.5\t-3\t4\n5\t6\t7\t8\n"),
        ("csv", b"x3;x1;x0;x2\n4;2.5;1;-3\n8;6;5;7\n"),
        ("jsonl", b"[1, 2.5, -3, 4]\n[5, 6, 7, 8]\n"),
        ("jsonl", b'\xef\xbb\xbf{"input": [1, 2.5, -3, 4], "id": 7}\r\n\n{"input": [5, 6, 7, 8]}'),
        ("jsonl", b'{"x3": 4, "x1": 2.5, "label": "cat", "x0": 1, "x2": -3}\n{"x0": 5, "x1": 6, "x2": 7, "x3": 8}\n'),
        ("jsonl", b'{"x3": 4, "x1": 2.5, "x0": 1, "x2": -3}\n[5, 6, 7, 8]\n'),
        ("npz", npz(input=ROWS)),
        ("npz", npz(anything=ROWS.astype(np.float64))),
        ("npy", npy(ROWS)),
        ("npy", npy(np.asfortranarray(ROWS))),
    ],
)
def test_rows_are_read(kind: Format, content: bytes, manifest: Manifest) -> None:
    rows = read_rows(content, kind, manifest)["input"]
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, ROWS)


def test_a_csv_line_fills_an_image_row_by_row() -> None:
    manifest = ToyNet().manifest(inputs=(IMAGE,), features=())
    [image] = read_rows(b"1,2,3,4\n", "csv", manifest)["image"]
    np.testing.assert_array_equal(image, [[1, 2], [3, 4]])


def test_whole_numbers_of_a_csv_are_read_exactly() -> None:
    tokens = {"name": "tokens", "dtype": "int64", "shape": (2,)}
    manifest = ToyNet().manifest(inputs=(tokens,), features=())
    rows = read_rows(b"a,b\n9007199254740993, -2\n3.0,4\n", "csv", manifest)["tokens"]
    assert rows.dtype == np.int64
    assert rows.tolist() == [[9007199254740993, -2], [3, 4]]


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("1.5", "expected a whole number, found '1.5'"),
        ("3000000000", "expected a whole number that fits int32, found 3000000000"),
        ("1e2", "expected a whole number, found '1e2'"),
        ("9" * 30, "expected a whole number, found "),
        ("", "has no value; expected a whole number"),
    ],
)
def test_what_is_no_whole_number_of_a_csv(cell: str, message: str) -> None:
    manifest = ToyNet().manifest(inputs=({"name": "tokens", "dtype": "int32", "shape": (2,)},), features=())
    with pytest.raises(InvalidInput) as refusal:
        read_rows(f"1,2\n3,{cell}\n".encode(), "csv", manifest)
    assert refusal.value.message.startswith(f"line 2, column 2: {message}")


@pytest.mark.parametrize(("header", "found"), [(b"a,b,c", 3), (b"id,a,b,c,d", 5)])
def test_a_header_of_columns_that_no_feature_names_is_as_wide_as_a_row(header: bytes, found: int) -> None:
    manifest = ToyNet().manifest(features=())
    rows = read_rows(b"a,b,c,d\n1,2.5,-3,4\n5,6,7,8\n", "csv", manifest)["input"]
    np.testing.assert_array_equal(rows, ROWS)
    with pytest.raises(InvalidInput, match=f"expected 4 columns, as many as a row has values; found {found}"):
        read_rows(header + b"\n" + b"1," * (found - 1) + b"2\n", "csv", manifest)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1, 2, 3, 4]\n[1, 2,\n", "line 2: is not JSON"),
        (b'{"x0": 1, "x1": 2, "x3": 3}\n', "there is no column x2; expected x0, x1, x2, x3; found x0, x1, x3"),
        (b"[1, 2, 3, 4]\n[1, 2, 3]\n", "line 2: expected 4 values, found 3"),
        (b'{"x0": 1, "x1": 2, "x2": 3, "x3": null}\n', "line 1, column x3: has no value; expected a number"),
        (b"{}", "expected 4 columns, as many as a row has values; found 0"),
        (b"", "inputs: is empty"),
    ],
)
def test_a_wrong_line_of_json_is_named(content: bytes, message: str, manifest: Manifest) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        read_rows(content, "jsonl", manifest)
    assert refusal.value.message.startswith(message)


def test_several_inputs_come_by_name() -> None:
    price = {"name": "price", "dtype": "float64", "shape": ()}
    manifest = ToyNet().manifest(inputs=(IMAGE, price))
    rows = read_rows(npz(price=np.ones(3), image=np.zeros((3, 2, 2))), "npz", manifest)
    assert (rows["image"].shape, rows["price"].shape) == ((3, 2, 2), (3,))
    lines = b'{"price": 1, "image": [[0, 0], [0, 0]]}\n{"image": [[0, 0], [0, 0]], "price": 2}\n'
    rows = read_rows(lines, "jsonl", manifest)
    assert (rows["image"].shape, rows["price"].tolist()) == ((2, 2, 2), [1, 2])
    with pytest.raises(InvalidInput, match="line 1: image is missing; expected image, price"):
        read_rows(b'{"price": 1}', "jsonl", manifest)
    others: list[tuple[Format, bytes]] = [("csv", b"1,2,3,4,5\n"), ("npy", npy(np.ones((1, 5))))]
    for kind, content in others:
        with pytest.raises(InvalidInput, match="the model has 2 inputs: send "):
            read_rows(content, kind, manifest)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1,2,3,4\n1,2,3\n", "line 2: expected 4 values, found 3"),
        (b"1,2,3,4,5\n", "expected 4 columns, as many as a row has values; found 5"),
        (b"1,2,3,4\n5,6,x,8\n", "line 2, column 3: expected a number, found 'x'"),
        (b"1,2,3,4\n5,,7,8\n", "line 2, column 2: has no value; expected a number"),
        (b"x0,x1,x3\n1,2,3\n", "there is no column x2; expected x0, x1, x2, x3; found x0, x1, x3"),
        (b"x0,x1,x2,x3\n1,2,3\n", "line 2: expected 4 values, found 3"),
        (b"x0,x1,x2,x3\n1,2,3,cat\n", "line 2, column 4 (x3): expected a number, found 'cat'"),
        (b"1,2,3,nan\n", "line 1, column 4: has no value; expected a number"),
        (b"1,2,3,NA\n", "line 1, column 4: has no value; expected a number"),
        (b"1,2,3,inf\n", "line 1, column 4: expected a number that fits float32, found inf"),
        (b"1,2,3,1e300\n", "line 1, column 4: expected a number that fits float32, found 1e+300"),
        (b"", "inputs: is empty"),
        (b"x0,x1,x2,x3\n", "inputs: is empty"),
    ],
)
def test_a_wrong_line_is_named(content: bytes, message: str, manifest: Manifest) -> None:
    with pytest.raises(InvalidInput) as refusal:
        read_rows(content, "csv", manifest)
    assert refusal.value.message.startswith(message)


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("json", b""),
        ("json", b"abc"),
        ("json", b"[[1, 2, 3, 4]"),
        ("csv", b"\xff\xfe1,2"),
        ("npz", b"PK\x03\x04 and no more"),
        ("npz", b""),
        ("npy", b"\x93NUMPY and no more"),
        ("npy", b""),
        ("npy", npy(np.array([[None] * 4], dtype=object))),
    ],
)
def test_what_cannot_be_read(kind: Format, content: bytes, manifest: Manifest) -> None:
    with pytest.raises(MalformedBody):
        read_rows(content, kind, manifest)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npz(a=ROWS, b=ROWS), r"inputs\.a: the model has no such input"),
        (npz(), r"inputs\.input: is missing"),
        (npz(input=ROWS[:, :3]), r"inputs\[0\]: expected 4 values, found 3"),
    ],
)
def test_arrays_that_do_not_fit(content: bytes, message: str, manifest: Manifest) -> None:
    with pytest.raises(InvalidRequest, match=message):
        read_rows(content, "npz", manifest)


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("rows.json", b"1,2", "json"),
        ("ROWS.CSV", b"[", "csv"),
        ("a.b.npz", b"", "npz"),
        ("rows.npy", b"", "npy"),
        ("-", b" \n[[1]]", "json"),
        ("-", b'{"inputs": []}', "json"),
        ("-", b"1,2\n", "csv"),
        ("-", npz(x=ROWS), "npz"),
        ("-", npy(ROWS), "npy"),
        ("rows.txt", b"1,2\n", "csv"),
        ("rows.jsonl", b"", "jsonl"),
        ("-", b"[1, 2]\n[3, 4]\n", "jsonl"),
        ("-", b'{"x0": 1}\n\n {"x0": 2}', "jsonl"),
        ("-", b"[[1, 2],\n[3, 4]]", "json"),
        ("-", b"[\n  [1, 2]\n]\n", "json"),
        ("-", b"[[1, 2]]\n", "json"),
    ],
)
def test_the_format_is_found_by_name_or_content(name: str, content: bytes, kind: str) -> None:
    assert find_format(name, content) == kind


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("npy", npz(input=np.ones((1, 4)))),  # AttributeError
        ("npz", npy(np.ones((1, 4)))),  # TypeError
        ("npz", stored(readme=b"hello")),  # AttributeError
        ("npz", deflate_damaged()),  # zlib.error
    ],
)
def test_unsupported_arrays_are_named_in_words(manifest: Manifest, kind: Format, content: bytes) -> None:
    with pytest.raises(InvalidRequest):
        read_rows(content, kind, manifest)


@pytest.mark.parametrize(
    ("content", "line"),
    [(b"1,2,3,4\n\n1,2,x,4\n", 3), (b'x0,x1,x2,x3,note\n1,2,3,4,"two\nlines"\n1,2,x,4,\n', 4)],
)
def test_lines_are_counted_as_an_editor_does(manifest: Manifest, content: bytes, line: int) -> None:
    """csv.reader's `line_num` knows."""
    with pytest.raises(InvalidInput, match=f"^line {line}, column 3"):
        read_rows(content, "csv", manifest)


@pytest.mark.parametrize("content", [b"1,2,3,nan\n", b"1,2,3,1e300\n", b"1,2,3,inf\n"])
def test_a_number_that_is_not_finite_is_refused_by_line_and_column(manifest: Manifest, content: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"^line 1, column 4"):
        read_rows(content, "csv", manifest)


def test_underscores_are_no_digits(manifest: Manifest) -> None:
    """float("1_000") is 1000.0 in Python, and nowhere else."""
    with pytest.raises(InvalidInput):
        read_rows(b"1,2,3,4\n1_000,2,3,4\n", "csv", manifest)


def test_an_empty_cell_makes_no_header(manifest: Manifest) -> None:
    """«line 1: the header lacks x0»."""
    with pytest.raises(InvalidInput, match=r"^line 1, column 2"):
        read_rows(b"1,,3,4\n5,6,7,8\n", "csv", manifest)


def test_an_empty_file_is_refused(manifest: Manifest) -> None:
    """«the body is not JSON: … (byte 10)»: a place in a text that the caller never wrote."""
    with pytest.raises(MalformedBody) as refusal:
        read_rows(b"[[1, 2, 3, 4], x]", "json", manifest)
    assert "byte 15" in refusal.value.message
