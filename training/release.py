"""A trained network → a published model: export, verify, fit, calibrate, evaluate, record, publish."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

import onnx
from numpy.typing import ArrayLike
from pydantic import ValidationError
from torch import Tensor, nn

from service import golden
from service.engine import Engine
from service.errors import InvalidInput
from service.manifest import REQUIRED_FILES, AnyNoise, Manifest, Seen, TrainingData, sha256
from service.masks import MaskCache
from service.runtime import Graph
from service.sampling import Sampling
from service.steps import Inputs
from training import provenance
from training.answers import ask
from training.calibrate import calibrate, describe_noise, fit
from training.errors import TrainingError
from training.export import example_rows, export
from training.publish import publish
from training.report import make_report
from training.rows import Rows, check_rows, named_inputs
from training.temperature import at_bound
from training.verify import Verified, verify
from training.work import measure_work

GOLDEN_ROWS = 8
GOLDEN_PASSES = 16
MASK_BYTES = 2**28


class Facts(TypedDict, total=False):
    """What else the manifest and the card say."""

    description: str
    features: tuple[str, ...]
    noise: AnyNoise | None
    categories: dict[str, tuple[str, ...]]
    seen: tuple[Seen, ...]
    training_data: TrainingData
    training: dict[str, Any]


def publish_module(
    module: nn.Module,
    example: tuple[Tensor, ...],
    *,
    name: str,
    models: Path = Path("models"),
    labels: Sequence[str] = (),
    input_names: Sequence[str] = ("input",),
    validation: Rows | None = None,
    calibration: Rows | None = None,
    test: Rows | None = None,
    others: Sequence[ArrayLike] = (),
    passes: int = 100,
    seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
    **facts: Unpack[Facts],
) -> tuple[Path, Manifest]:
    """Publish a trained network as the next version of `name`; the folder and manifest that came of it.

    `example` is one tensor for each input, of several rows that callers may see: the first of them are
    published as golden answers. With `labels`, one an output, the outputs are logits of classes; without,
    a regression's values, and behind them with a learned `noise` that of each. `validation` rows fit the
    temperatures (of a regression the noise, unless it is known), `calibration` rows the conformal quantiles and
    abstention thresholds, `test` rows give the figures; what is left out is not fitted or told. `others`, inputs
    of another data set, are what the network should doubt beside the test rows; the figures tell whether it
    does. All of it asks the exported graphs through the service's engine, so that it holds for what is served.
    `say` is told each step's outcome.

    Raises CannotExport, VerificationFailed, PublishFailed or another TrainingError, and leaves nothing then.
    """
    verified = verify(module, export(module, example, input_names=input_names), example)
    return publish_verified(
        verified,
        example,
        name=name,
        models=models,
        labels=labels,
        validation=validation,
        calibration=calibration,
        test=test,
        others=others,
        passes=passes,
        seed=seed,
        say=say,
        **facts,
    )


def publish_verified(
    verified: Verified,
    example: tuple[Tensor, ...],
    *,
    name: str,
    models: Path = Path("models"),
    labels: Sequence[str] = (),
    validation: Rows | None = None,
    calibration: Rows | None = None,
    test: Rows | None = None,
    others: Sequence[ArrayLike] = (),
    passes: int = 100,
    seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
    **facts: Unpack[Facts],
) -> tuple[Path, Manifest]:
    """Publish graphs that passed verification, wherever they come from; the rest is as in `publish_module`."""
    for check in verified.checks:
        say(f"verify: {check.name}: {check.detail}")
    manifest = _draft(name, labels, verified, facts)
    predict, sample, masks = Graph(verified.predict), Graph(verified.sample), MaskCache(MASK_BYTES)

    def engine() -> Engine:
        """As it answers with the manifest so far."""
        return Engine(manifest, predict, sample, masks)

    if validation is not None:
        inputs, targets = check_rows("validation", validation, manifest)
        known = manifest.noise
        manifest = fit(manifest, predict.run(inputs), engine().draw_all(inputs, Sampling(passes, seed)), targets)
        for line in _fitted(manifest) if known is None or known != manifest.noise else ():
            say(f"{line}, on {len(targets)} validation rows")
    if calibration is not None:
        inputs, targets = check_rows("calibration", calibration, manifest)
        manifest = calibrate(manifest, ask(engine(), inputs, passes, seed), targets)
        say(f"{_calibrated(manifest)}, on {len(targets)} calibration rows")
    plots: Mapping[str, bytes] = {}
    if test is not None:
        inputs, targets = check_rows("test", test, manifest)
        strangers = _other_rows(others, manifest) if others else None
        report = make_report(engine(), inputs, targets, strangers, passes, seed)
        manifest, plots = manifest.model_copy(update={"evaluation": report.figures}), report.plots
        say(f"evaluate: with and without dropout, on {len(targets)} test rows")
    shown = named_inputs(example_rows(example, GOLDEN_ROWS), manifest)
    return publish(models, manifest, verified, golden.record(engine(), shown, GOLDEN_PASSES, seed), plots)


def _other_rows(arrays: Sequence[ArrayLike], manifest: Manifest) -> Inputs:
    try:
        return named_inputs(arrays, manifest)
    except InvalidInput as error:
        raise TrainingError(f"others: {error.message}") from None


def _fitted(manifest: Manifest) -> Iterator[str]:
    if manifest.task == "regression":
        yield f"fit: {describe_noise(manifest.noise)}"
        return
    temperatures = {"temperature": manifest.temperature, "sampled temperature": manifest.sampled_temperature}
    for kind, temperature in temperatures.items():
        assert temperature is not None
        beyond = "; warning: the best one lies beyond, so the probabilities cannot be trusted" * at_bound(temperature)
        yield f"fit: {kind} {temperature:.3g}{beyond}"


def _calibrated(manifest: Manifest) -> str:
    coverages = ", ".join(f"{quantile.coverage:g}" for quantile in manifest.conformal)
    text = f"calibrate: sets of coverage {coverages or 'none'}"
    if manifest.task == "regression":
        return text
    rates = ", ".join(f"{threshold.error_rate:g}" for threshold in manifest.abstention)
    return f"{text}; thresholds for error rates {rates or 'none'}"


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
        first = error.errors(include_url=False)[0]
        field = "".join(f"{part}: " for part in first["loc"])
        raise TrainingError(f"{field}{first['msg'].removeprefix('Value error, ')}") from None
