"""List rows of the prediction log for review by people, and keep their labels."""

import math
import time
from typing import Any

import msgspec
import numpy as np

from service.errors import InvalidInput, UnknownModel, UnknownPrediction
from service.model.manifest import Manifest
from service.repository.repository import Repository
from service.review.rows import Label
from service.review.store import Entry, Query, Store

Json = dict[str, Any]
MAX_NAME = 100
"""The largest number of characters of a person's name."""
LARGEST = float(np.finfo(np.float32).max)
"""The largest number of float32, the type of training targets."""


class LabelRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a label; `service.api.schemas.LabelBody` documents the fields."""

    label: str | float | list[float]
    by: str | None = None


class Review:
    """The rows of a store. Every method may take long, and raises StoreAway if the store cannot be reached."""

    def __init__(self, store: Store, repository: Repository) -> None:
        """Read rows from `store`, and the models' labels from `repository`."""
        self._store = store
        self._repository = repository

    def page(self, query: Query) -> Json:
        """Return a `schemas.ReviewPage`. Raises InvalidInput for an unknown `after`."""
        entries = self._store.select(query)
        full = len(entries) == query.limit
        return {"rows": [describe(entry) for entry in entries], "next": entries[-1].row.id if full else None}

    def find(self, prediction: str) -> Json:
        """Return a `schemas.ReviewRow`. Raises UnknownPrediction."""
        return describe(self._entry(prediction))

    def label(self, prediction: str, given: LabelRequest, key: str | None) -> Json:
        """Add a person's label, unless it repeats the latest one, and return the row as `schemas.ReviewRow`.

        `key` is the name of the API key used. Raises UnknownPrediction, UnknownModel or InvalidInput.
        """
        entry = self._entry(prediction)
        label = check_label(given.label, self._manifest(entry))
        if given.by is not None and not (0 < len(given.by) <= MAX_NAME and "\0" not in given.by):
            raise InvalidInput(f"by: expected a name of 1 to {MAX_NAME} characters, none of them NUL", field="by")
        new = Label(prediction, msgspec.json.encode(label).decode(), given.by, key, time.time())
        if entry.labels and entry.labels[-1][:-1] == new[:-1]:
            return describe(entry)
        self._store.add_label(new)
        return describe(Entry(entry.row, (*entry.labels, new)))

    def _entry(self, prediction: str) -> Entry:
        entry = self._store.find(prediction)
        if entry is None:
            raise UnknownPrediction(f"the prediction log has no row {prediction[:100]!r}")
        return entry

    def _manifest(self, entry: Entry) -> Manifest:
        """Return the manifest of the version that answered, or of the default version if it no longer exists."""
        try:
            return self._repository.find(entry.row.model, entry.row.version).manifest
        except UnknownModel:
            return self._repository.find(entry.row.model).manifest


def check_label(given: str | float | list[float], manifest: Manifest) -> str | list[float]:
    """Return a valid label: a class's name, or a regression's values. Raises InvalidInput."""
    if manifest.task == "classification":
        if given not in manifest.labels:
            expected = list(manifest.labels)
            raise InvalidInput(
                f"label: expected one of {', '.join(expected)}; found {repr(given)[:100]}",
                field="label",
                expected=expected,
            )
        return str(given)
    values = given if isinstance(given, list) else [given]
    if len(values) != manifest.answers or not all(
        isinstance(value, int | float) and math.isfinite(value) and abs(value) <= LARGEST for value in values
    ):
        expected_values = "a number" if manifest.answers == 1 else f"a list of {manifest.answers} numbers"
        raise InvalidInput(
            f"label: expected {expected_values} in the range of float32", field="label", expected=manifest.answers
        )
    return [float(value) for value in values]


def describe(entry: Entry) -> Json:
    """Return an entry as `schemas.ReviewRow`."""
    row = entry.row._asdict()
    row["inputs"] = None if row["inputs"] is None else msgspec.Raw(row["inputs"].encode())
    row["answer"] = msgspec.Raw(row["answer"].encode())
    history = [_describe_label(label) for label in entry.labels]
    return {**row, "label": history[-1]["label"] if history else None, "history": history}


def _describe_label(label: Label) -> Json:
    return {"label": msgspec.json.decode(label.label), "by": label.by, "key": label.key, "time": label.time}
