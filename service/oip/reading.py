"""Check the name, datatype and shape of a request's inputs against the model before any value is read.

So the size of the values is known, and bounded by the model and the service's limits.
"""

from collections.abc import Mapping, Sequence

from service.errors import InvalidInput, LimitExceeded
from service.model.manifest import Manifest, TensorSpec
from service.oip.datatypes import check_datatype
from service.rows.inputs import FIELD

UNSUPPORTED = ("shared_memory_region", "classification")
"""Parameters of a tensor that change its data, and so must not be ignored."""


def input_spec(name: str, manifest: Manifest) -> TensorSpec:
    """Return the model's input of this name. Raises InvalidInput."""
    for spec in manifest.inputs:
        if spec.name == name:
            return spec
    known = [spec.name for spec in manifest.inputs]
    message = f"{FIELD}.{name[:100]}: the model has no such input; it has {', '.join(known)}"
    raise InvalidInput(message, field=f"{FIELD}.{name[:100]}", expected=known)


def check_tensor(datatype: str, shape: Sequence[int], spec: TensorSpec, max_rows: int) -> None:
    """Raise InvalidInput or LimitExceeded unless a tensor of this datatype and shape fits the model's input."""
    field = f"{FIELD}.{spec.name}"
    check_datatype(datatype, field)
    if len(shape) != 1 + len(spec.shape) or tuple(shape[1:]) != spec.shape or shape[0] < 1:
        expected = [-1, *spec.shape]
        message = f"{field}.shape: expected {expected}, with at least 1 row in place of -1; found {list(shape)[:10]}"
        raise InvalidInput(message, field=f"{field}.shape", expected=expected)
    if shape[0] > max_rows:
        message = f"{field}.shape: expected at most {max_rows} rows, found {shape[0]}"
        raise LimitExceeded(message, field=f"{field}.shape", given=shape[0], limit=max_rows)


def check_parameters(parameters: Mapping[str, object], field: str) -> None:
    """Raise InvalidInput for an unsupported parameter of a tensor."""
    for name in UNSUPPORTED:
        if name in parameters:
            message = f"{field}.parameters.{name}: is not supported; send and request the tensor itself"
            raise InvalidInput(message, field=f"{field}.parameters.{name}")


def check_repeated(names: Sequence[str], field: str) -> None:
    """Raise InvalidInput if a tensor is named twice."""
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidInput(f"{field}.{twice[:100]}: is given twice", field=f"{field}.{twice[:100]}")
