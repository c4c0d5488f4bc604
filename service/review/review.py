"""What was referred to a person, and what the person says of it."""

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
"""Characters of a person's name."""
LARGEST = float(np.finfo(np.float32).max)
"""What is learned from is float32."""


class LabelRequest(msgspec.Struct, forbid_unknown_fields=True):
    """What a row is in truth."""

    label: str | float | list[float]
    by: str | None = None


class Review:
    """The rows of a store. Every method may take a while, and raises StoreAway where that cannot be reached."""

    def __init__(self, store: Store, repository: Repository) -> None:
        self._store = store
        self._repository = repository

    def page(self, query: Query) -> Json:
        """As `schemas.ReviewPage`; raises InvalidInput for an `after` that is not there."""
        entries = self._store.select(query)
        full = len(entries) == query.limit
        return {"rows": [describe(entry) for entry in entries], "next": entries[-1].row.id if full else None}

    def find(self, prediction: str) -> Json:
        """As `schemas.ReviewRow`; raises UnknownPrediction."""
        return describe(self._entry(prediction))

    def label(self, prediction: str, said: LabelRequest, key: str | None) -> Json:
        """Keep a person's label; the same one by the same person is kept once.

        As `schemas.ReviewRow`. Raises UnknownPrediction, UnknownModel or InvalidInput.
        """
        entry = self._entry(prediction)
        label = check_label(said.label, self._manifest(entry))
        if said.by is not None and not (0 < len(said.by) <= MAX_NAME and "\0" not in said.by):
            raise InvalidInput(f"by: expected a name of 1 to {MAX_NAME} characters, none of them NUL", field="by")
        new = Label(prediction, msgspec.json.encode(label).decode(), said.by, key, time.time())
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
        """Of the version that answered; where it no longer serves, of the model's default version."""
        try:
            return self._repository.find(entry.row.model, entry.row.version).manifest
        except UnknownModel:
            return self._repository.find(entry.row.model).manifest


def check_label(given: str | float | list[float], manifest: Manifest) -> str | list[float]:
    """A class's name, or a regression's values; raises InvalidInput."""
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
    """As `schemas.ReviewRow`."""
    row = entry.row._asdict()
    row["inputs"] = None if row["inputs"] is None else msgspec.Raw(row["inputs"].encode())
    row["answer"] = msgspec.Raw(row["answer"].encode())
    history = [_describe_label(label) for label in entry.labels]
    return {**row, "label": history[-1]["label"] if history else None, "history": history}


def _describe_label(label: Label) -> Json:
    return {"label": msgspec.json.decode(label.label), "by": label.by, "key": label.key, "time": label.time}
