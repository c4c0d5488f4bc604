"""The last check of a model before it is published: the service must read the rows that it was trained on."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from service.bulk.files import read_rows
from service.engine.engine import Engine
from service.errors import InvalidRequest
from service.model.runtime import Array
from service.rows.formats import RowsFile, format_of_name, holds_parquet
from training.data import Dataset
from training.errors import PublishFailed
from training.publish.publish import FinalCheck

MOST_ROWS = 1000
"""The largest number of rows to check."""


def source_rows_check(source: str, data: Dataset, inputs: Sequence[Array]) -> FinalCheck:
    """Return a check that reads rows of the source as `dropserve predict` does, and has the model answer them.

    `inputs` are the arrays (rows, …) that were made of the source's rows, one an input. Sources that the service does
    not read, such as folders of pictures, pass. The check raises PublishFailed that names the difference.
    """

    def final_check(engine: Engine) -> None:
        path = Path(source)
        if not (holds_parquet(path) if path.is_dir() else path.exists() and format_of_name(path.name)):
            return
        _check(engine, RowsFile.of_path(path, data.dialect), data, inputs)

    return final_check


def _check(engine: Engine, file: RowsFile, data: Dataset, inputs: Sequence[Array]) -> None:
    rows = np.arange(len(inputs[0])) if data.source_rows is None else data.source_rows
    try:
        read = read_rows(file.content, file.kind, engine.manifest, file.dialect, rows[:MOST_ROWS])
        engine.predict(read)
    except InvalidRequest as error:
        raise PublishFailed(
            f"{file.name}: the service would refuse rows that the network learned from: {error.message}; nothing was"
            " published"
        ) from None
    for (name, found), given in zip(read.items(), inputs, strict=True):
        expected = given[: len(found)].astype(found.dtype)
        for row, *place in np.argwhere((found != expected) & ~(np.isnan(found) & np.isnan(expected))).tolist():
            feature = engine.manifest.features[place[0]] if engine.manifest.features else f"{name}{place}"
            raise PublishFailed(
                f"{file.name}: row {rows[row]}: the service would read {feature} as {found[(row, *place)]}, and the"
                f" network learned from {expected[(row, *place)]}; nothing was published"
            )
