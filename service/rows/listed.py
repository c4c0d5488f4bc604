"""Rows of short JSON as nested lists: of several requests they become one array, and are checked once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from service.model.manifest import Manifest
from service.model.runtime import Array
from service.rows.inputs import check_inputs, field_name, to_array


@dataclass(frozen=True, slots=True)
class ListedRows:
    """The rows of a model's only input, of the right type and number; shape and range are not checked yet."""

    rows: list[Any]

    @property
    def count(self) -> int:
        """The number of rows."""
        return len(self.rows)

    def fit(self, manifest: Manifest) -> dict[str, Array]:
        """Return the rows as an array that fits the model. Raises InvalidInput."""
        (spec,) = manifest.inputs
        array = to_array(self.rows, spec, field_name(spec, manifest))
        return check_inputs({spec.name: array}, manifest, self.count)


def join_lists(parts: Sequence[ListedRows]) -> ListedRows:
    """Return the rows of all parts."""
    return ListedRows([row for part in parts for row in part.rows])
