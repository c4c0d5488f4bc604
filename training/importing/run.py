"""An import, from a file and its settings to a published model."""

from pathlib import Path
from typing import Any

import numpy as np

from service.model.manifest import LearnedNoise, Manifest
from training.data import Choices, ImageChoices
from training.data.dataset import value_ranges
from training.errors import TrainingError
from training.evidence.evidence import Log
from training.importing.data import Labelled, Parts, load_labelled, load_others, split_labelled, with_labels
from training.importing.publishing import publish_onnx
from training.importing.request import ImportRequest
from training.importing.rows import read_rows
from training.importing.source import Source, open_source
from training.publish.final_check import source_rows_check
from training.publish.publish import check_writable

ADVICE = (
    "If the model is no better than a constant answer, check that the labels are in the order of its outputs, and that"
    " the rows are preprocessed as it expects."
)
"""The advice after warnings of the evaluation."""


def run(request: ImportRequest, log: Log) -> tuple[Path, Manifest]:
    """Import and publish a model; return its folder and manifest.

    `log` is called with a line on each step. Raises TrainingError or InvalidModel.
    """
    check_writable(request.models)
    source = open_source(request.file)
    rows = read_rows(request.rows, source.input_names, request.dialect) if request.rows else []
    about: dict[str, Any] = {"labels": request.labels}
    noise = LearnedNoise(learned=True) if request.noise == "learned" else None
    parts = None
    if request.data is not None:
        labelled, parts = _data(request, source, log)
        about = _from_data(labelled, parts)
        if request.others is not None:
            about["others"] = load_others(request.others, labelled, source.input_names)
            about["training"] |= {"others": Path(request.others).name}
        about["final_check"] = source_rows_check(request.data, labelled.data, labelled.inputs)
        rows = rows or [np.asarray(array) for array in parts.test.inputs]
    folder, manifest = publish_onnx(
        source,
        rows,
        name=request.name,
        models=request.models,
        passes=request.passes,
        seed=request.seed,
        sample_sites=request.sample_sites,
        log=log,
        description=request.description,
        noise=noise,
        **about,
    )
    if manifest.warnings:
        log(ADVICE)
    return folder, manifest


def _data(request: ImportRequest, source: Source, log: Log) -> tuple[Labelled, Parts]:
    assert request.data is not None
    task = "classification" if request.labels else request.task
    images = ImageChoices.for_rows(source.row_shapes[0]) if Path(request.data).is_dir() else ImageChoices()
    choices = Choices(
        request.target, request.ignore, task=task, missing=request.missing, images=images, dialect=request.dialect
    )
    labelled = load_labelled(request.data, choices, source.input_names)
    if labelled.data.labels and request.noise == "learned":
        raise TrainingError(
            f"noise: is for regressions, and {labelled.data.name} has classes; for values use --task regression"
        )
    if request.labels:
        labelled = with_labels(labelled, request.labels)
    parts = split_labelled(labelled, request.seed)
    for note in labelled.data.notes:
        log(note)
    if parts.left_out:
        log(f"{parts.left_out} of the source's own test rows left out that equal one of its training rows")
    log(f"data: {labelled.data.name}, {', '.join(f'{name} {rows}' for name, rows in parts.counts.items())}")
    if labelled.data.labels and not request.labels:
        classes = ", ".join(labelled.data.labels)
        log(f"labels: the outputs are assumed to be {classes}, in this order; --labels sets another")
    return labelled, parts


def _from_data(labelled: Labelled, parts: Parts) -> dict[str, Any]:
    """Return the arguments of publishing that follow from the data."""
    data = labelled.data
    return {
        "labels": data.labels,
        "validation": parts.validation,
        "calibration": parts.calibration,
        "test": parts.test,
        "features": data.features,
        "seen": value_ranges(data.inputs, one_unit=data.one_unit) if len(labelled.inputs) == 1 else (),
        "training": {"data": data.name, "data_sha256": data.sha256} | parts.counts,
    }
