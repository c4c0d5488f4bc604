"""Tables of any format → columns, by one reader a format."""

import gzip
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from service.errors import InvalidRequest
from service.rows.column import Column
from service.rows.csv_table import CsvTable
from service.rows.dialect import Dialect
from service.rows.formats import Format, RowsFile, open_table


def columns_of(content: bytes | str, kind: Format = "csv", dialect: Dialect = Dialect()) -> dict[str, Column]:  # noqa: B008
    text = content.encode() if isinstance(content, str) else content
    table = open_table(text, kind, dialect)
    return {column.name: column for column in table.read(dict.fromkeys(range(table.width), "any"))}


def values_of(content: bytes | str, kind: Format = "csv", dialect: Dialect = Dialect()) -> dict[str, list[Any]]:  # noqa: B008
    found = columns_of(content, kind, dialect)
    return {
        name: [None if no else value for value, no in zip(column.values.tolist(), column.missing, strict=True)]
        for name, column in found.items()
    }


def refusal_of(content: bytes | str, kind: Format = "csv", dialect: Dialect = Dialect()) -> str:  # noqa: B008
    with pytest.raises(InvalidRequest) as refusal:
        columns_of(content, kind, dialect)
    return refusal.value.message


def packed(**columns: Any) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pa.table(columns), file)
    return file.getvalue()


# CSV


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("size ,price ,label\n1,2,a\n", ["size", "price", "label"]),
        ('size, "price; EUR" ,label\n1,2,a\n', ["size", "price; EUR", "label"]),
        ("Size (m, inside);Price (EUR, net);label\n1;2;a\n", ["Size (m, inside)", "Price (EUR, net)", "label"]),
        ("Size (m, inside);Price (EUR, net);label\n1,5;2,5;a\n", ["Size (m, inside)", "Price (EUR, net)", "label"]),
        ("a\tb;c\n1\t2\n", ["a", "b;c"]),
        ("a|b\r1|2\r", ["a", "b"]),
        ("\ufeffa,b\r\n1,2\r\n", ["a", "b"]),
        ("sep=|\r\na;b|c\r\n1|2\r\n", ["a;b", "c"]),
        ("one\n1\n2\n", ["one"]),
        ("\n\na,b\n\n1,2\n", ["a", "b"]),
        ('a,b\n"x; y",1\n"u; v",2\n', ["a", "b"]),
    ],
)
def test_names_and_the_delimiter_are_found(text: str, names: list[str]) -> None:
    assert list(columns_of(text)) == names


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("x\n 1 \n+2\n-3\n", [1, 2, -3]),
        ("x\n1.5\n.5\n1e3\n", [1.5, 0.5, 1000.0]),
        ("x\n1\nNA\n\u22124\n", [1, None, -4]),
        ("x;y\n1,5;a\n2,25;b\n", [1.5, 2.25]),
        ("x;y\n1.234,5;a\n3,5;b\n", [1234.5, 3.5]),
        ("x;y\n1 234,5;a\n3\u202f000,5;b\n", [1234.5, 3000.5]),
        ('x,y\n"1,234.5",a\n"1,234,567",b\n', [1234.5, 1234567]),
        ("x;y\n1.234.567;a\n2.000.000;b\n", [1234567, 2000000]),
        ('x,y\n"1,007",1.5\n"2,100",2.5\n', [1007, 2100]),
        ('x,y\n"1,007","1,5"\n"2,100","2,5"\n', [1.007, 2.1]),
        ("x;y\n0,126;a\n-0,063;b\n", [0.126, -0.063]),
        ("x\n1'234\n2\u2019000\n", [1234, 2000]),
        ("x\n9007199254740993\n3\n", [9007199254740993, 3]),
        ("x\n1\ninf\n", [1.0, float("inf")]),
        ("zip\n00501\n02138\n", ["00501", "02138"]),
        ("zip\n501\n02138\n", ["501", "02138"]),
        ("x\nTRUE\nfalse\n", [True, False]),
        ("x\n1_000\n2\n", ["1_000", "2"]),
        ("x\n1-2\n3\n", ["1-2", "3"]),
        ("x\nNA\nyes \n", ["NA", "yes"]),
    ],
)
def test_what_cells_hold(text: str, values: list[Any]) -> None:
    assert next(iter(values_of(text).values())) == values


@pytest.mark.parametrize(
    ("text", "decimal", "values"),
    [("x;y\n1.234;5\n", ",", [1234]), ('x,y\n"1,007",5\n', ".", [1007]), ('x,y\n"1,007",5\n', ",", [1.007])],
)
def test_a_decimal_mark_that_is_said_goes_first(text: str, decimal: str, values: list[Any]) -> None:
    assert values_of(text, dialect=Dialect.of(None, decimal, None))["x"] == values


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('x,y\n"1,007",a\n"2,100",b\n', r"x: 1,007 may be 1007 or 1.007; .* --decimal \. or --decimal ,"),
        ("x;y\n1,5;1.5\n", r"y has decimal points, as 1.5, and x decimal commas, as 1,5; .* --decimal"),
        ("x;y\n1,5;1.234\n", "y: 1.234 may be 1234 or 1.234; .* --decimal"),
    ],
)
def test_a_number_is_not_taken_for_another_in_silence(text: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        columns_of(text)


def test_encodings() -> None:
    text = "town;x\nKöln;1\n"
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        assert values_of(text.encode(encoding))["town"] == ["Köln"]
    assert values_of(text.encode("cp1252"), dialect=Dialect(encoding="cp1252"))["town"] == ["Köln"]
    assert refusal_of(text.encode("cp1252")).startswith("line 2: is not text in UTF-8: invalid")
    assert "use --encoding utf-16-le" in refusal_of("a,b\n1,2\n".encode("utf-16-le"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('a,b\n1,2\n3,"4\n5,6\n7,8\n', "line 3: has a quotation mark that is not closed"),
        ('a,b\n"two\nlines",1\n1,2,3\n', "line 4: expected 2 values, found 3"),
        ("x\n1,5\n2,5\n", "line 2: expected 1 value, found 2"),
    ],
)
def test_lines_that_are_wrong_are_named(text: str, message: str) -> None:
    assert refusal_of(text) == message


@pytest.mark.parametrize("day", ["2024-01-31", "31.1.2024", "1/31/24", "2024-01-31 10:00:00", "2024-01-31T10:00:00Z"])
def test_dates_are_no_names(day: str) -> None:
    assert columns_of(f"day,y\n{day},1\n,2\n")["day"].odd == "dates"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("ab", None, None), "delimiter: expected one character"),
        ((None, ";", None), "decimal: expected . or ,"),
        ((None, None, "klingon"), "encoding: expected one that Python knows"),
        ((None, None, "base64"), "encoding: expected one that Python knows"),
    ],
)
def test_options_that_are_none(options: tuple[str | None, str | None, str | None], message: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        Dialect.of(*options)
    assert refusal.value.message.startswith(message)


def test_long_columns_are_read_in_blocks() -> None:
    table = CsvTable(("a,b\n" + "1,x\n" * 10_000).encode())
    numbers, texts = table.read({0: "number", 1: "text"})
    assert (table.rows, numbers.values.sum(), set(texts.values)) == (10_000, 10_000, {"x"})
    assert texts.place(9_999) == "line 10001, column 2 (b)"


# JSON Lines


def test_json_lines() -> None:
    lines = [{"a": 1, "b": "x "}, {"b": "y", "c": None}, {"a": 2.5, "c": True}]
    found = columns_of("\n".join(map(json.dumps, lines)), "jsonl")
    assert [column.missing.tolist() for column in found.values()] == [
        [False, True, False], [False, False, True], [True, True, False],
    ]  # fmt: skip
    assert found["b"].values.tolist()[:2] == ["x", "y"]
    assert found["a"].place(2) == "line 3, column a"
    assert refusal_of('{"a": 1}\n[1]\n', "jsonl") == "line 2: expected an object of the columns by name"
    assert refusal_of('{"a": 1}\n{"a"\n', "jsonl").startswith("line 2: is not JSON")


# Parquet


def test_types_of_parquet() -> None:
    found = values_of(
        packed(
            price=pa.array([Decimal("1.50"), None]),
            town=pa.array(["Bonn", None]).dictionary_encode(),
            code=pa.array(["00501", " "]),
            count=pa.array([3, None], pa.int16()),
            half=pa.array([np.float16(0.5), np.float16("nan")]),
            paid=pa.array([True, None]),
            nothing=pa.nulls(2),
        ),
        "parquet",
    )
    assert found == {
        "price": [1.5, None], "town": ["Bonn", None], "code": ["00501", None], "count": [3, None],
        "half": [0.5, None], "paid": [True, None], "nothing": [None, None],
    }  # fmt: skip


LONG = 12345678901234567890


@pytest.mark.parametrize(
    ("content", "kind", "merged"),
    [
        (f"x\n{LONG}\n{LONG + 1}\n", "csv", True),
        (f'x\n"{LONG:,}"\n"{LONG + 1:,}"\n', "csv", True),
        (f"x\n{2**53}\n{2**53 + 1}\n1.5\n", "csv", True),
        (f"x\n{LONG}\n{LONG}.0\n{2 * LONG}\n", "csv", False),
        ("x\n1e300\n-2e300\n", "csv", False),
        (f'{{"x": {LONG}}}\n{{"x": {LONG + 1}}}\n{{"x": null}}\n', "jsonl", True),
        (f'{{"x": {2**53}}}\n{{"x": {2**53 + 1}}}\n{{"x": 0.5}}\n', "jsonl", True),
        (packed(x=pa.array([Decimal(LONG), Decimal(LONG + 1), None])), "parquet", True),
        (packed(x=pa.array([Decimal(LONG), Decimal(2 * LONG), None])), "parquet", False),
    ],
)
def test_whole_numbers_that_float64_merges_are_noticed(content: str | bytes, kind: Format, merged: bool) -> None:
    assert [column.merged for column in columns_of(content, kind).values()] == [merged]


def test_columns_that_are_no_numbers_are_named() -> None:
    content = packed(day=pa.array([0], pa.timestamp("s")), parts=[{"a": 1}], x=[1.0])
    odd = {name: column.odd for name, column in columns_of(content, "parquet").items()}
    assert odd == {"day": "dates", "parts": "values of type struct<a: int64>", "x": ""}


def test_a_damaged_column_matters_only_if_it_is_read() -> None:
    content = bytearray(packed(x=[1.0, 2.0, 3.0], text=["a" * 50, "b" * 50, "c" * 50]))
    start = parquet.ParquetFile(io.BytesIO(bytes(content))).metadata.row_group(0).column(1).dictionary_page_offset
    content[start : start + 20] = b"\xff" * 20
    table = open_table(bytes(content), "parquet")
    [x] = table.read({0: "number"})
    assert x.values.tolist() == [1, 2, 3]
    with pytest.raises(InvalidRequest, match="column text: cannot be read"):
        table.read({0: "number", 1: "any"})


def test_a_folder_of_parquet_is_one_table(tmp_path: Path) -> None:
    for number in (0, 1):
        (tmp_path / f"part-{number}.parquet").write_bytes(packed(a=[number, 2.5], b=["x", "y"]))
    (tmp_path / "_SUCCESS").touch()
    table = RowsFile.of_path(tmp_path).table()
    assert (table.rows, table.read({0: "number"})[0].values.tolist()) == (4, [0, 2.5, 1, 2.5])
    (tmp_path / "part-2.parquet").write_bytes(packed(a=[1], c=["x"]))
    with pytest.raises(InvalidRequest, match=r"part-2.parquet: has other columns than the file before: b, c"):
        RowsFile.of_path(tmp_path).table()
    (tmp_path / "town=Bonn").mkdir()
    with pytest.raises(InvalidRequest, match="town=Bonn: the folder has partitions"):
        RowsFile.of_path(tmp_path).table()


# compressed


def test_compressed_files(tmp_path: Path) -> None:
    contents = {"x.csv": b"a,b\n1,x\n", "x.jsonl": b'{"a": 1, "b": "x"}', "x.parquet": packed(a=[1], b=["x"])}
    for name, content in contents.items():
        for file in (tmp_path / f"{name}.gz", tmp_path / name):
            file.write_bytes(gzip.compress(content))
            names = RowsFile.of_path(file).table().names
            assert names == ["a", "b"]
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(b"a,b\n1,x\n")[:-9])
    with pytest.raises(InvalidRequest, match="is damaged gzip"):
        RowsFile.of_path(tmp_path / "cut.csv.gz")
