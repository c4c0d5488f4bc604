"""A file of rows → the answers, from the shell and without a server: what the service would answer, or as CSV."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from service.api.decoding import decode_request
from service.api.replies import encode_prediction, encode_uncertainty
from service.api.requests import PredictRequest, UncertaintyRequest, plan_sampling
from service.bulk.files import read_request, read_rows
from service.config import Settings
from service.engine.decisions import decide
from service.engine.engine import Engine
from service.engine.steps import Inputs, count_rows
from service.errors import InvalidRequest, UnknownModel
from service.model.manifest import MANIFEST
from service.repository.folder import find_models
from service.repository.mirror import open_mirror
from service.rows.formats import RowsFile


def read_options(samples: int | None, seed: str | None) -> dict[str, Any]:
    """The fields that options of the command line stand for; raises InvalidInput as a request with them would."""
    given: dict[str, Any] = {"samples": samples, "seed": int(seed) if seed and seed.isdecimal() else seed}
    fields = {name: value for name, value in given.items() if value is not None}
    decode_request(json.dumps(fields | {"inputs": None}).encode(), UncertaintyRequest)
    return fields


def predict(engine: Engine, file: RowsFile) -> bytes:
    """As `/predict` answers the rows of a file; raises InvalidRequest."""
    request = read_request(file.content, file.kind, PredictRequest)
    return encode_prediction(engine.manifest, engine.predict(_rows(file, engine)), request.coverage)


def ask(engine: Engine, file: RowsFile, options: Mapping[str, Any], settings: Settings) -> bytes:
    """As `/uncertainty` answers; options go before what a JSON file asks for. Raises InvalidRequest."""
    request = read_request(file.content, file.kind, UncertaintyRequest)
    for field, value in options.items():
        setattr(request, field, value)
    inputs = _rows(file, engine)
    sampling = plan_sampling(request, engine.manifest, count_rows(inputs), settings)
    sampled = engine.sample(inputs, sampling)
    decision = decide(engine.manifest, sampling, sampled.uncertainty, request.error_rate)
    return encode_uncertainty(engine.manifest, sampling, sampled, request, decision)


def to_csv(answer: bytes) -> bytes:
    """An answer as CSV with a header: what is one value for each row. Lists, such as of all classes, are left out."""
    rows = [dict(_single_values(row)) for row in orjson.loads(answer)["predictions"]]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().removesuffix("\n").encode()


def choose_model(given: str | None, settings: Settings) -> Path:
    """The folder of a version: `models/digits/1` itself, the highest of `models/digits`, or of a model by its name.

    Raises UnknownModel, and OSError when the folder of models cannot be listed.
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
        known = f"there are: {', '.join(names)}" if names else "there is none"
        message = f"there is no model {wanted or ''} in {settings.models}; {known}. --model takes a name or a folder"
        raise UnknownModel(message, expected=names)
    return versions[-1]


def models_folder(settings: Settings) -> Path:
    """The folder of models; behind a URL, its mirror, brought up to date. Raises OSError when it cannot be."""
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


def _single_values(fields: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from _single_values(value, f"{prefix}{name}.")
        elif not isinstance(value, list):
            yield f"{prefix}{name}", value
        elif len(value) == 1 and not isinstance(value[0], (dict, list)):
            yield f"{prefix}{name}", value[0]
