"""The inputs that a caller describes, name, datatype and shape, are checked against the model before a value is read.

So the size of what is read is known, and bounded by the model and the service's limits.
"""

from collections.abc import Mapping, Sequence

from service.errors import InvalidInput, LimitExceeded
from service.model.manifest import Manifest, TensorSpec
from service.oip.datatypes import check_datatype
from service.rows.inputs import FIELD

UNSUPPORTED = ("shared_memory_region", "classification")
"""Parameters of a tensor that change where or what its data is, and must not be passed over."""


def input_spec(name: str, manifest: Manifest) -> TensorSpec:
    """The model's input of this name; raises InvalidInput."""
    for spec in manifest.inputs:
        if spec.name == name:
            return spec
    known = [spec.name for spec in manifest.inputs]
    message = f"{FIELD}.{name[:100]}: the model has no such input; it has {', '.join(known)}"
    raise InvalidInput(message, field=f"{FIELD}.{name[:100]}", expected=known)


def check_tensor(datatype: str, shape: Sequence[int], spec: TensorSpec, max_rows: int) -> None:
    """Raises InvalidInput or LimitExceeded unless a tensor of this type and shape may be the model's input."""
    field = f"{FIELD}.{spec.name}"
    check_datatype(datatype, field)
    if len(shape) != 1 + len(spec.shape) or tuple(shape[1:]) != spec.shape or shape[0] < 1:
        expected = [-1, *spec.shape]
        message = f"{field}.shape: expected {expected}, with 1 row or more in the place of -1; found {list(shape)[:10]}"
        raise InvalidInput(message, field=f"{field}.shape", expected=expected)
    if shape[0] > max_rows:
        message = f"{field}.shape: expected at most {max_rows} rows, found {shape[0]}"
        raise LimitExceeded(message, field=f"{field}.shape", given=shape[0], limit=max_rows)


def check_parameters(parameters: Mapping[str, object], field: str) -> None:
    """Raises InvalidInput for a tensor's parameter that cannot be honoured."""
    for name in UNSUPPORTED:
        if name in parameters:
            message = f"{field}.parameters.{name}: is not supported; send and ask for the tensor itself"
            raise InvalidInput(message, field=f"{field}.parameters.{name}")


def check_repeated(names: Sequence[str], field: str) -> None:
    """Raises InvalidInput when a tensor is named twice."""
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidInput(f"{field}.{twice[:100]}: is there twice", field=f"{field}.{twice[:100]}")
