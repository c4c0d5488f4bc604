"""Turn a trained network into a published model: export, verify, fit, calibrate, evaluate, record, publish."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

import onnx
from numpy.typing import ArrayLike
from onnx import ModelProto
from pydantic import ValidationError
from torch import Tensor, nn

from service.engine.sampling import Sampling
from service.loading import golden
from service.model.manifest import REQUIRED_FILES, AnyNoise, ImageRule, Manifest, Seen, TensorSpec, TrainingData, sha256
from service.model.runtime import Array
from training.errors import TrainingError
from training.evidence.evidence import (
    Evidence,
    Log,
    VerifiedGraphs,
    calibrated,
    check_learned_noise,
    checked,
    evaluated,
    fitted,
)
from training.evidence.rows import Rows, named_inputs, one_an_input
from training.exporting.cost import measure_work
from training.exporting.ending import UNNAMED, are_probabilities
from training.exporting.export import as_tensors, check_module, dropout_graph, example_rows
from training.exporting.exported import Exported
from training.exporting.selection import auto_share
from training.exporting.tolerances import network_tolerance
from training.exporting.verify import Verified, verify
from training.flags import check_name
from training.publish import provenance
from training.publish.publish import FinalCheck, publish
from training.publish.sites import chosen_sites, compared

GOLDEN_ROWS, FEWEST_GOLDEN_ROWS = 8, 2
GOLDEN_PASSES, FEWEST_GOLDEN_PASSES = 16, 2
"""Rows with golden answers, and samples of each; the fewest for a network of which more would exceed the next limit."""
GOLDEN_MULTIPLY_ADDS = 2**34


class Facts(TypedDict, total=False):
    """Further fields of the manifest and the card."""

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
    sample_sites: Sequence[str] = (),
    log: Log = lambda _: None,
    final_check: FinalCheck = lambda _: None,
    **facts: Unpack[Facts],
) -> tuple[Path, Manifest]:
    """Publish a trained network as the next version of `name`; return the folder and the manifest.

    `example` holds rows that may be published, as one tensor or array for each input in a tuple, or that of the only
    input; the first of them get golden answers. With `labels`, one an output, the outputs are logits of classes, or
    probabilities: a softmax at the end is removed. Without, they are a regression's values, followed by the noise of
    each where `noise` is learned. `validation` rows fit the temperatures (for a regression the noise, unless it is
    known), `calibration` rows the conformal quantiles and abstention thresholds, `test` rows give the figures; a part
    that is None leaves out its step. `others`, inputs of another data set, are OOD data for the evaluation. Each step
    runs the exported graphs through the service's engine, so that its results hold for what is served. `image` states
    how pictures became the rows of the only input, `imputation` the value for a missing one, NaN, at each place of a
    row; without it none may be missing. `passes` is the number of samples a row, from `seed`. `sample_sites` selects
    the dropout that stays on in samples: names of sites, globs, `last:N`, or `auto:SHARE` for the fewest last sites
    that find errors SHARE times as well as all, on validation, else calibration rows. Fewer sites than all are compared
    with all, on calibration, else validation, else test rows. `log` is called with a line on each step. `final_check`
    is called with the finished model's engine, and raises an error to prevent publishing.

    Raises ConfigError for a name that a model cannot have or sites that it does not have, CannotExport,
    VerificationFailed, PublishFailed or another TrainingError, and then leaves no files.
    """
    check_name(name)
    check_module(module)
    example = as_tensors(example, module)
    auto_share(sample_sites)
    graph = dropout_graph(module, example, input_names=input_names, classification=bool(labels))
    if image is not None or imputation:
        graph = replace(graph, inputs=(_stated(graph.inputs, image, imputation),))
    if graph.ending.note:
        log(f"export: {graph.ending.note}")
    evidence = Evidence(validation, calibration, test, one_an_input(others), passes, seed)
    exported = chosen_sites(graph, sample_sites, drafting(name, labels, facts), evidence, log)
    return publish_verified(
        verify(module, exported, example),
        example,
        evidence,
        graph.exported,
        name=name,
        models=models,
        labels=labels,
        log=log,
        final_check=final_check,
        **facts,
    )


def publish_verified(
    verified: Verified,
    example: tuple[Tensor, ...],
    evidence: Evidence,
    everything: Callable[[], Exported],
    *,
    name: str,
    models: Path | str = Path("models"),
    labels: Sequence[str] = (),
    log: Log = lambda _: None,
    final_check: FinalCheck = lambda _: None,
    **facts: Unpack[Facts],
) -> tuple[Path, Manifest]:
    """Publish graphs that passed verification, from any source; arguments and errors are those of `publish_module`.

    `everything` returns the graphs with masks at all of the network's sites, which those of fewer are compared with.
    """
    models_of = (onnx.load_model_from_string(verified.predict), onnx.load_model_from_string(verified.sample))
    manifest = _draft(name, labels, verified, *models_of, facts)
    for check in verified.checks:
        log(f"verify: {check.name}: {check.detail}")
    rows, passes = golden_size(manifest)
    graphs, shown = VerifiedGraphs(verified), named_inputs(example_rows(example, rows), manifest)
    if not labels and are_probabilities(graphs.predict.run(shown)):
        log(f"export: {UNNAMED}")
    check_learned_noise(manifest, graphs, shown, Sampling(passes, evidence.seed))
    manifest = checked(manifest, evidence, log)
    manifest = fitted(manifest, graphs, evidence, log)
    manifest = compared(manifest, graphs, everything, evidence, log)
    manifest = calibrated(manifest, graphs, evidence, log)
    manifest, plots = evaluated(manifest, graphs, evidence, log)
    tolerance = max(golden.TOLERANCE, network_tolerance(models_of[1]))
    answers = golden.record(graphs.engine(manifest), shown, passes, evidence.seed, tolerance)
    return publish(Path(models), manifest, verified, answers, plots, final_check)


def golden_size(manifest: Manifest) -> tuple[int, int]:
    """Return the number of golden rows, and of samples of each, by the cost of replaying them."""
    runs = GOLDEN_MULTIPLY_ADDS // (manifest.work.multiply_adds if manifest.work else 1)
    rows = GOLDEN_ROWS if runs >= GOLDEN_ROWS * FEWEST_GOLDEN_PASSES else FEWEST_GOLDEN_ROWS
    return rows, min(GOLDEN_PASSES, max(FEWEST_GOLDEN_PASSES, runs // rows))


def drafting(name: str, labels: Sequence[str], facts: Facts) -> Callable[[Exported], Manifest]:
    """Return a function that drafts the manifest of graphs of any sites."""
    return lambda exported: _draft(name, labels, exported, exported.predict, exported.sample, facts)


def _draft(
    name: str,
    labels: Sequence[str],
    graphs: Verified | Exported,
    predict: ModelProto,
    sample: ModelProto,
    facts: Facts,
) -> Manifest:
    """Return the manifest as far as it is known before calibration; version and digests are filled in later."""
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
            bypassed_sites=graphs.bypassed_sites,
            work=measure_work(sample),
            predict_work=measure_work(predict),
            libraries=provenance.libraries(),
            git_commit=provenance.git_commit(),
            files=dict.fromkeys(REQUIRED_FILES, sha256(b"")),
            **facts,
        )
    except ValidationError as error:
        raise _first_wrong(error) from None


def _stated(inputs: Sequence[TensorSpec], image: ImageRule | None, imputation: Sequence[float]) -> TensorSpec:
    """Return the only input with its image rule and imputation; raise TrainingError where they do not fit."""
    if len(inputs) > 1:
        raise TrainingError(f"image and imputation are for networks of one input; this one has {len(inputs)}")
    try:
        return TensorSpec(**{**dict(inputs[0]), "image": image, "imputation": tuple(imputation)})
    except ValidationError as error:
        raise _first_wrong(error) from None


def _first_wrong(error: ValidationError) -> TrainingError:
    first = error.errors(include_url=False)[0]
    field = "".join(f"{part}: " for part in first["loc"])
    return TrainingError(f"{field}{first['msg'].removeprefix('Value error, ')}")
