"""Files of rows: JSON, CSV, NPZ and NPY, and where each is wrong."""

import io
import json

import numpy as np
import pytest

from service.errors import InvalidInput, InvalidRequest, MalformedBody
from service.files import guess_kind, read_rows
from service.manifest import Manifest
from service.runtime import Array
from tests.toy import ToyNet

ROWS = np.array([[1, 2.5, -3, 4], [5, 6, 7, 8]], dtype=np.float32)
IMAGE = {"name": "image", "dtype": "float32", "shape": (2, 2)}


def npy(array: Array) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(**arrays: Array) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


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
        ("npz", npz(input=ROWS)),
        ("npz", npz(anything=ROWS.astype(np.float64))),
        ("npy", npy(ROWS)),
        ("npy", npy(np.asfortranarray(ROWS))),
    ],
)
def test_rows_are_read(kind: str, content: bytes, manifest: Manifest) -> None:
    rows = read_rows(content, kind, manifest)["input"]
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, ROWS)


def test_a_csv_line_fills_an_image_row_by_row() -> None:
    manifest = ToyNet().manifest(inputs=(IMAGE,), features=())
    [image] = read_rows(b"1,2,3,4\n", "csv", manifest)["image"]
    np.testing.assert_array_equal(image, [[1, 2], [3, 4]])


def test_several_inputs_come_by_name() -> None:
    price = {"name": "price", "dtype": "float64", "shape": ()}
    manifest = ToyNet().manifest(inputs=(IMAGE, price))
    rows = read_rows(npz(price=np.ones(3), image=np.zeros((3, 2, 2))), "npz", manifest)
    assert (rows["image"].shape, rows["price"].shape) == ((3, 2, 2), (3,))
    for kind, content in [("csv", b"1,2,3,4,5\n"), ("npy", npy(np.ones((1, 5))))]:
        with pytest.raises(InvalidInput, match="the model has 2 inputs: send JSON or NPZ"):
            read_rows(content, kind, manifest)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1,2,3,4\n1,2,3\n", "line 2: expected 4 values, found 3"),
        (b"1,2,3,4,5\n", "line 1: expected 4 values, found 5"),
        (b"1,2,3,4\n5,6,x,8\n", "line 2, column 3: expected a number that fits float32, found 'x'"),
        (b"1,2,3,4\n5,,7,8\n", "line 2, column 2: expected a number that fits float32, found ''"),
        (b"x0,x1,x3\n1,2,3\n", "line 1: the header lacks x2; expected x0, x1, x2, x3"),
        (b"x0,x1,x2,x3\n1,2,3\n", "line 2: expected 4 values, found 3"),
        (b"x0,x1,x2,x3\n1,2,3,cat\n", "line 2, column 4: expected a number that fits float32, found 'cat'"),
        (b"1,2,3,nan\n", "line 1, column 4: expected a number that fits float32, found 'nan'"),
        (b"1,2,3,1e300\n", "line 1, column 4: expected a number that fits float32, found '1e300'"),
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
def test_what_cannot_be_read(kind: str, content: bytes, manifest: Manifest) -> None:
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
    ],
)
def test_the_kind_is_told_by_the_name_or_the_content(name: str, content: bytes, kind: str) -> None:
    assert guess_kind(name, content) == kind
