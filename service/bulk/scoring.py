"""Score a file of rows without a server, and return the answers as the service's JSON or as CSV."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from service.api.decoding import read_options
from service.api.replies import Columns, answer_columns, encode_prediction, encode_uncertainty, flat_columns
from service.api.requests import PredictRequest, UncertaintyRequest
from service.bulk.files import read_request, read_rows
from service.config import Settings
from service.engine.engine import Engine
from service.engine.inputs import Inputs
from service.errors import InvalidRequest, UnknownModel
from service.inference import Request, infer, plan
from service.model.manifest import MANIFEST
from service.repository.folder import find_models
from service.repository.mirror import open_mirror
from service.rows.formats import RowsFile

Output = Literal["json", "csv"]


def check_options(samples: int | None, seed: str | None) -> dict[str, Any]:
    """Return the options of the command line as fields of a request. Raises InvalidInput."""
    given: dict[str, Any] = {"samples": samples, "seed": int(seed) if seed and seed.isdecimal() else seed}
    fields = {name: value for name, value in given.items() if value is not None}
    read_options(fields)
    return fields


def predict(engine: Engine, file: RowsFile, output: Output) -> bytes:
    """Return the answers to the rows of a file as `/predict` does. Raises InvalidRequest."""
    request = read_request(file.content, file.kind, PredictRequest)
    prediction = infer(Request(engine, _rows(file, engine))).prediction
    if output == "csv":
        return to_csv(answer_columns(engine.manifest, prediction, request.coverage))
    return encode_prediction(engine.manifest, prediction, request.coverage)


def sample(engine: Engine, file: RowsFile, options: Mapping[str, Any], settings: Settings, output: Output) -> bytes:
    """Return the answers as `/uncertainty` does; `options` override those in a JSON file. Raises InvalidRequest."""
    request = read_request(file.content, file.kind, UncertaintyRequest)
    for field, value in options.items():
        setattr(request, field, value)
    answer = infer(plan(engine, _rows(file, engine), request, settings))
    sampling, sampled = answer.sampling
    if output == "csv":
        return to_csv(flat_columns(engine.manifest, sampling, sampled, answer.decision, request.coverage))
    return encode_uncertainty(engine.manifest, sampling, sampled, request.coverage, answer.decision)


def to_csv(columns: Columns) -> bytes:
    """Return the columns with one value per row as CSV with a header; columns of lists are left out."""
    single = {name: [_single_value(value) for value in values] for name, values in columns.items()}
    table = {name: values for name, values in single.items() if not any(value is None for value in values)}
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*table.values(), strict=True))
    return text.getvalue().removesuffix("\n").encode()


def choose_model(given: str | None, settings: Settings) -> Path:
    """Return the folder of a version: `models/digits/1` itself, the highest of `models/digits`, or that of a name.

    Raises UnknownModel, and OSError if the folder of models cannot be listed.
    """
    if given and (Path(given) / MANIFEST).is_file():
        return Path(given)
    if given and (folder := Path(given)).is_dir() and (versions := _versions(folder.parent, folder.name)):
        return versions[-1]
    folders = find_models(models_folder(settings))
    names = list(dict.fromkeys(folder.parent.name for folder in folders))
    wanted = given or settings.default_model or (names[0] if names else "")
    pinned = settings.pins.get(wanted)
    versions = [folder for folder in folders if folder.parent.name == wanted and pinned in (None, int(folder.name))]
    if not versions:
        known = f"known models: {', '.join(names)}" if names else "the folder has no model"
        missing = f"there is no model {wanted} in" if wanted else "there is no model in"
        message = f"{missing} {settings.models}; {known}. --model accepts a name or a folder"
        raise UnknownModel(message, expected=names)
    return versions[-1]


def models_folder(settings: Settings) -> Path:
    """Return the folder of models, for a URL that of its updated mirror. Raises OSError if the update fails."""
    mirror = open_mirror(settings)
    if mirror is None:
        return Path(settings.models)
    mirror.sync()
    return mirror.folder


def _rows(file: RowsFile, engine: Engine) -> Inputs:
    try:
        return read_rows(file.content, file.kind, engine.manifest, file.dialect)
    except InvalidRequest as error:
        raise type(error)(f"{file.name}: {error.message}", **error.details) from None


def _versions(models: Path, name: str) -> list[Path]:
    return [folder for folder in find_models(models) if folder.parent.name == name]


def _single_value(value: Any) -> Any:
    """Return a value for CSV, also that of a list of one; None for other lists."""
    if isinstance(value, (list, np.ndarray)):
        return _single_value(value[0]) if len(value) == 1 and np.ndim(value[0]) == 0 else None
    if isinstance(value, (float, np.floating)):
        return "" if np.isnan(value) else float(str(value))  # with the shortest decimal form of its type
    return value
