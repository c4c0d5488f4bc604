"""A training run, from data to a published model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from service import golden
from service.engine import Engine, Inputs
from service.manifest import (
    GOLDEN,
    PREDICT_GRAPH,
    REQUIRED_FILES,
    SAMPLE_GRAPH,
    Manifest,
    TrainingData,
    sha256,
)
from service.masks import MaskCache
from service.runtime import Graph
from training import provenance
from training.calibrate import calibrate, fit_temperature
from training.config import TrainConfig
from training.data import Dataset, Part, Split, load_data, split_data
from training.evaluate import ask, evaluate
from training.export import Exported, export
from training.publish import publish
from training.train import Epoch, Trained, train
from training.verify import verify
from training.work import measure_work

EXAMPLE_ROWS = 17
GOLDEN_ROWS = 8
GOLDEN_PASSES = 16
MASK_BYTES = 2**28


def run(config: TrainConfig, say: Callable[[str], None], on_epoch: Callable[[Epoch], None]) -> tuple[Path, Manifest]:
    """Train, export, verify, calibrate, evaluate and publish; the folder and manifest that came of it.

    `say` is told each step's outcome, `on_epoch` each epoch's. Calibration and evaluation ask the exported
    graphs through the service's engine, so that their figures are those of what is served. Raises
    TrainingError or InvalidModel.
    """
    data = load_data(config.data)
    split = split_data(data, config.validation_share, config.test_share, config.seed)
    say(f"data: {_describe(data, split)}")

    trained = train(config, data, split, on_epoch)
    say(f"train: on {trained.device}; best epoch {trained.best.number} of {trained.best.of}")

    example = (torch.from_numpy(split.train.inputs[:EXAMPLE_ROWS]),)
    exported = export(trained.network, example)
    for check in verify(trained.network, exported, example):
        say(f"verify: {check.name}: {check.detail}")

    predict, sample = exported.predict.SerializeToString(), exported.sample.SerializeToString()
    validation, test = _inputs(exported, split.validation), _inputs(exported, split.test)
    temperature = fit_temperature(Graph(predict).run(validation), split.validation.targets)
    draft = _draft(config, data, split, trained, exported, temperature)
    engine = Engine(draft, Graph(predict), Graph(sample), MaskCache(MASK_BYTES))
    calibrated = calibrate(draft, ask(engine, validation, config.passes, config.seed), split.validation.targets)
    say(f"calibrate: on {len(split.validation.targets)} rows; temperature {temperature:.3f}")

    figures = evaluate(ask(engine, test, config.passes, config.seed), split.test.targets)
    say(f"evaluate: on {len(split.test.targets)} rows, with and without dropout")

    examples = {name: rows[:GOLDEN_ROWS] for name, rows in test.items()}
    recorded = golden.record(engine, examples, GOLDEN_PASSES, config.seed)
    finished = calibrated.model_copy(update={"evaluation": figures})
    return publish(config.models, finished, {PREDICT_GRAPH: predict, SAMPLE_GRAPH: sample, GOLDEN: recorded})


def _inputs(exported: Exported, part: Part) -> Inputs:
    return {exported.inputs[0].name: part.inputs}


def _draft(
    config: TrainConfig, data: Dataset, split: Split, trained: Trained, exported: Exported, temperature: float
) -> Manifest:
    """All of the manifest that is known before calibration; publishing puts in the version and the digests."""
    return Manifest(
        name=config.name,
        version=1,
        task="classification",
        description=config.description,
        created=provenance.now(),
        inputs=exported.inputs,
        output=exported.output,
        features=data.features,
        labels=data.labels,
        sites=exported.sites,
        temperature=temperature,
        work=measure_work(exported.sample),
        training_data=TrainingData(name=data.name, sha256=data.sha256, rows=len(data.targets)),
        training=_settings(config, split, trained),
        libraries=provenance.libraries(),
        git_commit=provenance.git_commit(),
        files=dict.fromkeys(REQUIRED_FILES, sha256(b"")),
    )


def _settings(config: TrainConfig, split: Split, trained: Trained) -> dict[str, Any]:
    """What was asked for and what came of it; not where: paths are nobody else's."""
    return config.model_dump(mode="json", exclude={"name", "description", "models"}) | {
        "device": trained.device,
        "best_epoch": trained.best.number,
        "train_rows": len(split.train.targets),
        "validation_rows": len(split.validation.targets),
        "test_rows": len(split.test.targets),
    }


def _describe(data: Dataset, split: Split) -> str:
    train, validation, test = (len(part.targets) for part in (split.train, split.validation, split.test))
    return f"{data.name}, {train} rows to train, {validation} to validate, {test} to test"
