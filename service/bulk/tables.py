"""Columns of Parquet ⇄ what a model takes and answers."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from service.api.replies import Columns
from service.csv_rows import shorten
from service.errors import InvalidInput
from service.inputs import FIELD, check_inputs, to_array
from service.manifest import Manifest, TensorSpec
from service.runtime import Array


def columns_needed(manifest: Manifest, there: Sequence[str]) -> list[str]:
    """The features by name, or a column of lists for each input. Raises InvalidInput for one that is missing."""
    inputs = [spec.name for spec in manifest.inputs]
    needed = list(manifest.features) if manifest.features and not set(inputs) <= set(there) else inputs
    if missing := [name for name in needed if name not in there]:
        message = f"{missing[0]}: there is no such column; expected {shorten(needed)}"
        raise InvalidInput(message, field=missing[0], missing=missing)
    return needed


def columns_read(manifest: Manifest, keep: Sequence[str], there: Sequence[str]) -> list[str]:
    """Those that are needed, and those to be copied. Raises InvalidInput for one that is missing."""
    needed = columns_needed(manifest, there)
    if absent := [name for name in keep if name not in there]:
        raise InvalidInput(f"--keep {absent[0]}: there is no such column", field=absent[0])
    return list(dict.fromkeys([*needed, *keep]))


def read_batch(batch: pa.RecordBatch, needed: Sequence[str], manifest: Manifest) -> dict[str, Array]:
    """Rows → arrays by input. Raises InvalidInput for a value that is missing or does not fit, with its row."""
    if list(needed) == [spec.name for spec in manifest.inputs]:
        arrays = {spec.name: _read_lists(batch.column(spec.name), spec) for spec in manifest.inputs}
    else:
        columns = [_read_feature(batch.column(name), column, manifest) for column, name in enumerate(needed)]
        spec = manifest.inputs[0]
        arrays = {spec.name: np.stack(columns, axis=1).reshape(-1, *spec.shape)}
    return check_inputs(arrays, manifest, max_rows=batch.num_rows)


def answer_batch(answers: Columns, beside: dict[str, Any]) -> pa.RecordBatch:
    """What goes before the answers, and they."""
    columns = {**beside, **{name: pa.array(values) for name, values in answers.items()}}
    return pa.RecordBatch.from_pydict(columns)


def _read_feature(column: pa.Array, place: int, manifest: Manifest) -> Array:
    """(rows,); what is missing becomes NaN, which is refused later where the network takes no such thing."""
    category = manifest.categorical.by_column.get(place) if manifest.categorical else None
    if category and not _is_number(column.type):
        return np.array(category.read_all(column.to_pylist(), FIELD, 0), dtype=np.float64)
    if not _is_number(column.type):
        name = manifest.features[place]
        raise InvalidInput(f"{name}: expected a column of numbers, found {column.type}", field=name)
    return np.asarray(column.to_numpy(zero_copy_only=False))


def _read_lists(column: pa.Array, spec: TensorSpec) -> Array:
    """(rows, …) of lists, as nested as a row is or flat; of bare numbers, where a row is one."""
    if not _is_number(_innermost(column.type)) or column.null_count:
        found = f"{column.null_count} rows without" if column.null_count else column.type
        raise InvalidInput(f"{spec.name}: expected numbers, or lists of them, in every row; found {found}")
    if _is_list(column.type) and _is_number(column.type.value_type) and _all_have(column, spec):
        return np.asarray(column.flatten().to_numpy(zero_copy_only=False)).reshape(-1, *spec.shape)
    return to_array(column.to_pylist(), spec, spec.name)


def _innermost(kind: pa.DataType) -> pa.DataType:
    return _innermost(kind.value_type) if _is_list(kind) else kind


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _all_have(column: pa.Array, spec: TensorSpec) -> bool:
    """As many numbers as a row is of."""
    lengths = pc.list_value_length(column)
    fitting = pc.all(pc.equal(lengths, math.prod(spec.shape))).as_py()
    return bool(fitting)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))
