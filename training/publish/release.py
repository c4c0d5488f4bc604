"""A trained network → a published model: export, verify, fit, calibrate, evaluate, record, publish."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

import onnx
from numpy.typing import ArrayLike
from pydantic import ValidationError
from torch import Tensor, nn

from service.engine.sampling import Sampling
from service.loading import golden
from service.model.manifest import REQUIRED_FILES, AnyNoise, ImageRule, Manifest, Seen, TensorSpec, TrainingData, sha256
from service.model.runtime import Array
from training.errors import TrainingError
from training.evidence.evidence import Asked, Evidence, Say, calibrated, check_noise_told, checked, evaluated, fitted
from training.evidence.rows import Rows, named_inputs, one_an_input
from training.exporting.cost import measure_work
from training.exporting.ending import UNNAMED, are_probabilities
from training.exporting.export import as_tensors, check_module, example_rows, export
from training.exporting.precision import may_disagree
from training.exporting.verify import Verified, verify
from training.publish import provenance
from training.publish.publish import Trial, publish

GOLDEN_ROWS = 8
GOLDEN_PASSES = 16


class Facts(TypedDict, total=False):
    """What else the manifest and the card say."""

    description: str
    features: tuple[str, ...]
    noise: AnyNoise | None
    class_weights: tuple[float, ...]
    categories: dict[str, tuple[str, ...]]
    seen: tuple[Seen, ...]
    training_data: TrainingData
    training: dict[str, Any]


def publish_module(
    module: nn.Module,
    example: Tensor | Array | tuple[Tensor | Array, ...],
    *,
    name: str,
    models: Path | str = Path("models"),
    labels: Sequence[str] = (),
    input_names: Sequence[str] = ("input",),
    validation: Rows | None = None,
    calibration: Rows | None = None,
    test: Rows | None = None,
    others: ArrayLike | Sequence[ArrayLike] = (),
    passes: int = 100,
    seed: int = 0,
    image: ImageRule | None = None,
    imputation: Sequence[float] = (),
    say: Say = lambda _: None,
    trial: Trial = lambda _: None,
    **facts: Unpack[Facts],
) -> tuple[Path, Manifest]:
    """Publish a trained network as the next version of `name`; the folder and manifest that came of it.

    `example` is one tensor or array for each input, in a tuple, or the one of the only input; of several rows that
    callers may see: the first of them are published as golden answers. With `labels`, one an output, the outputs are
    logits of classes, or probabilities: a softmax at the end is taken off. Without, they are a regression's values,
    and behind them with a learned `noise` that of each. `validation` rows fit the temperatures (of a regression the
    noise, unless it is known), `calibration` rows the conformal quantiles and abstention thresholds, `test` rows give
    the figures; what is left out is not fitted or reported. `others`, inputs of another data set, are what the network
    should doubt beside the test rows; the figures tell whether it does. All of it asks the exported graphs through
    the service's engine, so that it holds for what is served. `image` states how pictures became the rows of the
    only input, `imputation` what the network takes for a missing value, NaN, in each place of a row; without, none may
    be missing. `say` is told each step's outcome. The model that would be published is put to the `trial`, which raises
    what is wrong with it.

    Raises CannotExport, VerificationFailed, PublishFailed or another TrainingError, and leaves nothing then.
    """
    check_module(module)
    example = as_tensors(example, module)
    exported = export(module, example, input_names=input_names, classification=bool(labels))
    if image is not None or imputation:
        exported = replace(exported, inputs=(_stated(exported.inputs, image, imputation),))
    if exported.ending.note:
        say(f"export: {exported.ending.note}")
    verified = verify(module, exported, example)
    evidence = Evidence(validation, calibration, test, one_an_input(others), passes, seed)
    return publish_verified(
        verified, example, evidence, name=name, models=models, labels=labels, say=say, trial=trial, **facts
    )


def publish_verified(
    verified: Verified,
    example: tuple[Tensor, ...],
    evidence: Evidence,
    *,
    name: str,
    models: Path | str = Path("models"),
    labels: Sequence[str] = (),
    say: Say = lambda _: None,
    trial: Trial = lambda _: None,
    **facts: Unpack[Facts],
) -> tuple[Path, Manifest]:
    """Publish graphs that passed verification, wherever they come from; the rest is as in `publish_module`."""
    manifest = _draft(name, labels, verified, facts)
    for check in verified.checks:
        say(f"verify: {check.name}: {check.detail}")
    asked, shown = Asked(verified), named_inputs(example_rows(example, GOLDEN_ROWS), manifest)
    if not labels and are_probabilities(asked.predict.run(shown)):
        say(f"export: {UNNAMED}")
    check_noise_told(manifest, asked, shown, Sampling(GOLDEN_PASSES, evidence.seed))
    manifest = checked(manifest, evidence, say)
    manifest = fitted(manifest, asked, evidence, say)
    manifest = calibrated(manifest, asked, evidence, say)
    manifest, plots = evaluated(manifest, asked, evidence, say)
    tolerance = max(golden.TOLERANCE, may_disagree(onnx.load_model_from_string(verified.sample)))
    answers = golden.record(asked.engine(manifest), shown, GOLDEN_PASSES, evidence.seed, tolerance)
    return publish(Path(models), manifest, verified, answers, plots, trial)


def _draft(name: str, labels: Sequence[str], graphs: Verified, facts: Facts) -> Manifest:
    """All of the manifest that is known before calibration; publishing puts in the version and the digests."""
    try:
        return Manifest(
            name=name,
            version=1,
            task="classification" if labels else "regression",
            created=provenance.now(),
            inputs=graphs.inputs,
            output=graphs.output,
            labels=tuple(labels),
            sites=graphs.sites,
            work=measure_work(onnx.load_model_from_string(graphs.sample)),
            libraries=provenance.libraries(),
            git_commit=provenance.git_commit(),
            files=dict.fromkeys(REQUIRED_FILES, sha256(b"")),
            **facts,
        )
    except ValidationError as error:
        raise _first_wrong(error) from None


def _stated(inputs: Sequence[TensorSpec], image: ImageRule | None, imputation: Sequence[float]) -> TensorSpec:
    """The only input, with what is said of it; raises TrainingError where that does not fit."""
    if len(inputs) > 1:
        raise TrainingError(f"image and imputation are of an only input; the network has {len(inputs)}")
    try:
        return TensorSpec(**{**dict(inputs[0]), "image": image, "imputation": tuple(imputation)})
    except ValidationError as error:
        raise _first_wrong(error) from None


def _first_wrong(error: ValidationError) -> TrainingError:
    first = error.errors(include_url=False)[0]
    field = "".join(f"{part}: " for part in first["loc"])
    return TrainingError(f"{field}{first['msg'].removeprefix('Value error, ')}")
