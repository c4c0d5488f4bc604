"""Arrays from a caller: what fits passes, the rest is named by field and row."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from service.errors import InvalidInput, LimitExceeded
from service.model.manifest import Manifest
from service.model.runtime import Array
from service.rows.inputs import check_inputs
from tests.toy import FEATURES, ToyNet

TOKENS = {"name": "tokens", "dtype": "int64", "shape": (2,)}
SMALL_TOKENS = TOKENS | {"dtype": "int32"}
IMAGE = {"name": "image", "dtype": "float32", "shape": (2, 3)}
PRICE = {"name": "price", "dtype": "float64", "shape": ()}


def of(*inputs: Mapping[str, object]) -> Manifest:
    return ToyNet().manifest(inputs=inputs)


def test_numbers_become_the_models_type(manifest: Manifest) -> None:
    for dtype in ("float16", "float32", "float64", "int8", "int64", "uint8"):
        checked = check_inputs({"input": np.ones((3, FEATURES), dtype=dtype)}, manifest, 10)["input"]
        assert checked.dtype == np.float32
        assert checked.flags.c_contiguous
        assert (checked == 1).all()


def test_columns_in_another_order_of_memory_are_the_same_numbers(manifest: Manifest) -> None:
    given = np.asfortranarray(np.arange(12.0).reshape(3, FEATURES))
    np.testing.assert_array_equal(check_inputs({"input": given}, manifest, 10)["input"], given)


def test_several_inputs() -> None:
    given = {"price": np.array([1.5, 2.5]), "image": np.ones((2, 2, 3))}
    checked = check_inputs(given, of(IMAGE, PRICE), 10)
    assert list(checked) == ["image", "price"]
    assert checked["price"].dtype == np.float64


@pytest.mark.parametrize(
    ("array", "place", "message"),
    [
        (np.zeros((0, 4)), "inputs", "is empty"),
        (np.ones((3, 5)), "inputs[0]", "expected 4 values, found 5 values"),
        (np.ones(4), "inputs", "expected 2 dimensions, rows of 4 numbers; found 1"),
        (np.array([["a"] * 4]), "inputs", "expected values of type float32, found <U1"),
        (np.ones((1, 4), dtype=bool), "inputs", "expected values of type float32, found bool"),
        (np.ones((1, 4), dtype=complex), "inputs", "expected values of type float32, found complex128"),
        (np.array([[1, 2, 3, 4], [1, 2, np.nan, 4]]), "inputs[1][2]", "expected a finite number"),
        (np.array([[1, 2, 3, -np.inf]]), "inputs[0][3]", "expected a finite number"),
        (np.array([[1, 1e300, 3, 4]]), "inputs[0][1]", "fits float32, found 1e+300"),
    ],
)
def test_what_does_not_fit_is_named(manifest: Manifest, array: Array, place: str, message: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        check_inputs({"input": array}, manifest, 10)
    assert refusal.value.message.startswith(f"{place}: ")
    assert message in refusal.value.message
    assert refusal.value.details["field"] == place


def test_a_value_that_a_whole_number_cannot_hold_is_named() -> None:
    with pytest.raises(InvalidInput, match=r"inputs\[1\]\[0\]: .* fits int32, found 3000000000"):
        check_inputs({"tokens": np.array([[1, 2], [3_000_000_000, 4]])}, of(SMALL_TOKENS), 10)
    with pytest.raises(InvalidInput, match="expected values of type int32, found float64"):
        check_inputs({"tokens": np.array([[1.0, 2.0]])}, of(SMALL_TOKENS), 10)


def test_too_many_rows(manifest: Manifest) -> None:
    with pytest.raises(LimitExceeded, match="inputs: expected at most 10 rows, found 11") as refusal:
        check_inputs({"input": np.ones((11, 4))}, manifest, 10)
    assert refusal.value.details == {"field": "inputs", "given": 11, "limit": 10}


def test_names_must_be_the_models(manifest: Manifest) -> None:
    with pytest.raises(InvalidInput, match=r"inputs\.x: the model has no such input; it has input"):
        check_inputs({"x": np.ones((1, 4))}, manifest, 10)
    with pytest.raises(InvalidInput, match=r"inputs\.price: is missing"):
        check_inputs({"image": np.ones((1, 2, 3))}, of(IMAGE, PRICE), 10)


def test_inputs_must_have_as_many_rows() -> None:
    given = {"image": np.ones((2, 2, 3)), "price": np.ones(3)}
    with pytest.raises(InvalidInput, match="image has 2, price has 3"):
        check_inputs(given, of(IMAGE, PRICE), 10)


def test_one_of_several_inputs_is_named() -> None:
    given = {"image": np.ones((2, 2, 4)), "price": np.ones(2)}
    with pytest.raises(InvalidInput, match=r"inputs\.image\[0\]\[0\]: expected 3 values, found 4") as refusal:
        check_inputs(given, of(IMAGE, PRICE), 10)
    assert refusal.value.details["field"] == "inputs.image[0][0]"
    assert refusal.value.details["row"] == 0


@given(hnp.arrays(st.sampled_from([np.float64, np.int64, np.bool_]), hnp.array_shapes(min_dims=0, max_dims=4)))
def test_any_array_fits_or_is_refused(array: Array) -> None:
    try:
        checked = check_inputs({"input": array}, ToyNet().manifest(), 10)["input"]
    except (InvalidInput, LimitExceeded):
        return
    assert checked.shape == (len(array), FEATURES)
    assert np.isfinite(checked).all()


@pytest.mark.parametrize("array", [np.ones((2, 4, 1)), np.ones(())])
def test_an_array_of_other_dimensions_is_refused(manifest: Manifest, array: Any) -> None:
    """It was: «inputs: expected 2 values, found 2 values»; and a scalar «is empty»."""
    with pytest.raises(InvalidInput) as refusal:
        check_inputs({"input": array}, manifest, 10)
    counts = re.search(r"expected (\d+) values?, found (\d+)", refusal.value.message)
    assert not (counts and counts[1] == counts[2])
    assert "is empty" not in refusal.value.message


def test_a_column_for_a_row_of_one_number() -> None:
    """«inputs: expected 3 values, found 3 values; a row is 1 numbers»."""
    with pytest.raises(InvalidInput) as refusal:
        check_inputs({"input": np.ones(3)}, ToyNet(features=1).manifest(), 10)
    assert "expected 3 values, found 3" not in refusal.value.message
    assert "1 numbers" not in refusal.value.message


def within(**limits: int) -> dict[str, int | None]:
    return {"lowest": None, "highest": None} | limits


@pytest.mark.parametrize(
    ("spec", "ranges", "row", "place", "message"),
    [
        (TOKENS, [within(lowest=0, highest=8)], [3, 9], 1, "from 0 to 8, found 9"),
        (TOKENS, [within(lowest=0, highest=8)], [-1, 9], 0, "from 0 to 8, found -1"),
        (TOKENS, [within(lowest=0, highest=8)], [3, 2**63 - 1], 1, f"from 0 to 8, found {2**63 - 1}"),
        (TOKENS, [within(lowest=0), within(highest=3)], [9, 4], 1, "of at most 3, found 4"),
        (SMALL_TOKENS, [within(lowest=0), within()], [-(2**31), 4], 0, f"of at least 0, found {-(2**31)}"),
        (TOKENS | {"dtype": "float32"}, [within(lowest=0, highest=8)], [8.9, 9], 1, "from 0 to 8, found 9.0"),
        (TOKENS | {"dtype": "float32"}, [within(lowest=0, highest=8)], [-0.9, -1], 1, "from 0 to 8, found -1.0"),
        (PRICE, [within(lowest=0, highest=8)], 8.999, None, ""),
        (TOKENS, [within(lowest=0), within(highest=3)], [2**40, -(2**40)], None, ""),
        (TOKENS, [within(), within()], [-(2**63), 2**63 - 1], None, ""),
    ],
)
def test_whole_numbers_out_of_range_are_refused(
    spec: dict[str, Any], ranges: list[dict[str, int | None]], row: object, place: int | None, message: str
) -> None:
    manifest = of(spec | {"ranges": ranges})
    good = np.array([[0.5, 1] if spec["shape"] else 1] * 2).astype(spec["dtype"])
    arrays = {spec["name"]: np.concatenate([good, np.array([row]).astype(spec["dtype"])])}
    if place is None:
        assert len(check_inputs(arrays, manifest, 10)[spec["name"]]) == 3
        return
    with pytest.raises(
        InvalidInput, match=re.escape(f"inputs[2][{place}]: expected a whole number {message}")
    ) as error:
        check_inputs(arrays, manifest, 10)
    assert error.value.details == {"field": f"inputs[2][{place}]", "row": 2} | ranges[place % len(ranges)]
