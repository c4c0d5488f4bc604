"""Every parser, by damaged copies of what it takes and by what Hypothesis makes of its grammar: answered or refused."""

import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.access.compression import FORMATS, decompress
from tools.abuse.parsers import MAX_BYTES, PARSERS, TO_THE_END, WHOLE, survives
from tools.abuse.run import fuzz_by_coverage, fuzz_parser

INPUTS = 1000

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")  # numpy's, of odd headers

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["input", "random", "FP32", "BYTES", "BF16", "Rome"]),
)
ANY = st.recursive(
    ODD, lambda part: st.lists(part, max_size=4) | st.dictionaries(st.text(max_size=5), part, max_size=3)
)
ROW = st.lists(st.floats(-1e3, 1e3) | st.integers(-9, 9), min_size=4, max_size=4)
ROWS = st.lists(ROW | ANY, min_size=1, max_size=3) | ANY


def fields(**strategies: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with some of these fields, and now and then one that is none."""
    return st.fixed_dictionaries({}, optional=strategies | {"other": ANY})


PREDICT = fields(inputs=ROWS, coverage=ODD)
UNCERTAINTY = fields(
    inputs=ROWS,
    samples=ODD | fields(max=ODD, tolerance=ODD, confidence=ODD),
    seed=ODD,
    dropout_rate=ODD,
    ablate=st.lists(fields(site=ODD, units=ANY, fraction=ODD), max_size=2),
    quantiles=ANY,
    return_samples=ODD,
)
TENSOR = fields(
    name=st.just("input") | ODD,
    shape=st.just([1, 4]) | st.lists(st.integers(-1, 5) | st.sampled_from([2**31, 2**62]), max_size=3) | ANY,
    datatype=st.sampled_from(["FP32", "FP64", "INT8", "BOOL", "BF16", "BYTES"]) | ODD,
    parameters=fields(binary_data_size=st.integers(-1, 40) | ODD) | ANY,
    data=ROW | ROWS,
)
INFER = fields(
    inputs=st.lists(TENSOR, max_size=2) | ANY,
    outputs=st.lists(fields(name=ODD, parameters=fields(binary_data=ODD)), max_size=2),
    parameters=fields(samples=ODD, seed=ODD, binary_data_output=ODD) | ANY,
    id=ODD,
)
GRAMMARS = {"JSON of predict": PREDICT, "JSON of uncertainty": UNCERTAINTY}


@pytest.mark.parametrize("name", PARSERS)
def test_valid_input_is_taken(name: str) -> None:
    assert all(survives(PARSERS[name], seed) for seed in PARSERS[name].seeds)


@pytest.mark.parametrize("name", PARSERS)
def test_damaged_input_is_taken_or_refused(name: str) -> None:
    part = fuzz_parser(name, PARSERS[name], INPUTS)
    assert part.faults == []
    assert sum(part.outcomes.values()) == INPUTS


@pytest.mark.parametrize("name", GRAMMARS)
@given(data=st.data())
def test_any_json_is_taken_or_refused(name: str, data: st.DataObject) -> None:
    survives(PARSERS[name], json.dumps(data.draw(GRAMMARS[name])).encode())


@given(asked=INFER, tail=st.binary(max_size=40), kind=st.sampled_from([WHOLE, TO_THE_END]))
def test_any_tensors_are_taken_or_refused(asked: dict[str, Any], tail: bytes, kind: bytes) -> None:
    survives(PARSERS["v2, JSON and binary"], kind + json.dumps(asked).encode() + (tail if kind == TO_THE_END else b""))


@pytest.mark.parametrize("name", [name for name in PARSERS if name not in GRAMMARS])
@given(content=st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_taken_or_refused(name: str, content: bytes) -> None:
    survives(PARSERS[name], content)


@given(member=st.binary(max_size=100), members=st.integers(1, 5), cut=st.integers(1, 8))
def test_gzip_of_several_members_is_one_body(member: bytes, members: int, cut: int) -> None:
    packed = gzip.compress(member) * members
    assert decompress(packed, "gzip", MAX_BYTES) == member * members
    assert not survives(PARSERS["gzip"], packed[:-cut])


def test_members_are_bounded() -> None:
    """Each costs, though nothing comes out."""
    empty = gzip.compress(b"")
    assert decompress(empty * FORMATS["gzip"].max_members, "gzip", MAX_BYTES) == b""
    assert not survives(PARSERS["gzip"], empty * (FORMATS["gzip"].max_members + 1))


def test_a_long_number_is_no_long_work() -> None:
    """A pattern that goes back over the digits would take hours."""
    assert not survives(PARSERS["CSV"], b"1,2,3," + b"9" * 60_000 + b"x\n")


def test_what_reaches_new_code_is_taken_or_refused() -> None:
    pytest.importorskip("atheris", reason="is for Linux")
    part = fuzz_by_coverage(20_000)
    assert part.faults == []
    assert part.outcomes["branches"] > 0
