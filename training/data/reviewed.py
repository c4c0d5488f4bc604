"""Read rows labelled by reviewers from the service's prediction log, for the training part only."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np

from service.errors import DropserveError, InvalidInput
from service.review.opening import open_store
from service.review.rows import Row
from service.review.store import Entry
from service.rows.inputs import FIELD, to_array
from training.data import Dataset, Part, Split
from training.data.split import equal_rows
from training.errors import TrainingError


@dataclass(frozen=True, slots=True)
class Reviewed:
    """Labelled rows to add to the training part, in the order of their ids."""

    part: Part
    left_out: int
    """The number of rows equal to one of the validation, calibration or test part."""
    without_inputs: int
    """The number of labelled rows whose inputs were not logged."""

    def joined(self, data: Dataset) -> Dataset:
        """Return the data set with these rows behind its own."""
        targets: Any = np.concatenate([data.targets, self.part.targets])
        return replace(data, inputs=np.concatenate([data.inputs, self.part.inputs]), targets=targets)

    def facts(self, data: Dataset) -> dict[str, Any]:
        """Return the manifest's fields on these rows."""
        alone = replace(data, inputs=self.part.inputs, targets=self.part.targets)
        return {
            "reviewed_rows": len(self.part.targets),
            "reviewed_left_out": self.left_out,
            "reviewed_sha256": alone.sha256,
        }

    def summary(self) -> str:
        """Return a summary of the rows added and left out."""
        text = f"reviewed: {len(self.part.targets)} labelled rows added to the training part"
        if self.left_out:
            text += f"; {self.left_out} left out that equal a held-out row"
        return text + f"; {self.without_inputs} left out whose inputs were not logged" * bool(self.without_inputs)


def with_reviewed(where: str, model: str, data: Dataset, split: Split) -> tuple[Split, Reviewed]:
    """Return the split with this model's labelled rows in its training part; each row once, with its last label.

    Raises TrainingError where the log cannot be read, or a row or label does not fit the data.
    """
    try:
        entries = list(open_store(where).labelled(model))
    except DropserveError as error:
        raise TrainingError(f"with_reviewed: {error.message}") from None
    known = [entry for entry in entries if entry.row.inputs is not None]
    part = Part(_inputs(known, data), _targets(known, data))
    fresh = _not_held_out(part, split)
    kept = Part(part.inputs[fresh], part.targets[fresh])
    train = Part(*(np.concatenate(both) for both in zip(_arrays(split.train), _arrays(kept), strict=True)))
    return replace(split, train=train), Reviewed(kept, int((~fresh).sum()), len(entries) - len(known))


def _not_held_out(part: Part, split: Split) -> Any:
    """Return which rows equal none of the validation, calibration or test part: (rows,)."""
    held = np.concatenate([one.inputs for one in (split.validation, split.calibration, split.test)])
    groups = equal_rows(np.concatenate([held, part.inputs]))
    return ~np.isin(groups[len(held) :], groups[: len(held)])


def _arrays(part: Part) -> tuple[Any, Any]:
    return part.inputs, part.targets


def _inputs(entries: Sequence[Entry], data: Dataset) -> Any:
    """Return the rows (rows, …) in the data's own order of columns."""
    shape = data.inputs.shape[1:]
    rows = [_row(entry.row, data) for entry in entries]
    return np.concatenate([np.zeros((0, *shape), data.inputs.dtype), *rows])


def _row(row: Row, data: Dataset) -> Any:
    """Return a row (1, …) as callers wrote it, checked as the service does."""
    sent = msgspec.json.decode(row.inputs or "null")
    try:
        if not isinstance(sent, list):
            raise InvalidInput("expected a list of numbers, of a model of one input")
        made = data.categorical.to_numbers([sent], FIELD) if data.categorical else to_array([sent], data.spec, FIELD)
        if not data.imputed and np.isnan(made).any():
            raise InvalidInput("a value is missing, and missing values are refused; use --missing median")
        return made.astype(data.inputs.dtype)
    except (InvalidInput, ValueError) as error:
        reason = error.message if isinstance(error, InvalidInput) else str(error)
        raise TrainingError(f"with_reviewed: row {row.id} does not fit {data.name}: {reason}") from None


def _targets(entries: Sequence[Entry], data: Dataset) -> Any:
    """Return (rows,) class numbers, or (rows, 1) values."""
    labels = list(_labels(entries, data))
    return np.array(labels, np.int64) if data.labels else np.array(labels, np.float32).reshape(-1, 1)


def _labels(entries: Sequence[Entry], data: Dataset) -> Iterator[Any]:
    for row, labels in entries:
        last = msgspec.json.decode(labels[-1].label)
        if data.labels and last in data.labels:
            yield data.labels.index(last)
        elif not data.labels and isinstance(last, list) and len(last) == 1:
            yield last
        else:
            expected = f"one of {', '.join(data.labels)}" if data.labels else "one number"
            raise TrainingError(f"with_reviewed: row {row.id}: expected {expected} as its label; found {last!r}")
