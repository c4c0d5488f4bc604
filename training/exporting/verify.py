"""Verify that the exported graphs compute what the network does."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from service.engine.masks import draw_masks
from service.engine.network import Network
from service.errors import InvalidModel
from service.loading.load import Check, check_graphs, open_graphs
from service.model.manifest import REQUIRED_FILES, DropoutSite, Manifest, TensorSpec, WholeNumbers, Work, sha256
from service.model.runtime import Array, Graph
from service.rows.inputs import check_inputs
from training.errors import TrainingError
from training.exporting.cost import measure_work
from training.exporting.export import example_rows
from training.exporting.exported import Exported
from training.exporting.inspection import every_draw_is_a_mask, failed, no_metadata, no_randomness, same_weights
from training.exporting.reference import Reference, TorchReference
from training.exporting.tolerances import advice, graph_tolerance, network_tolerance
from training.exporting.weights import Weights

MOST_ROWS, FEWEST_ROWS = 17, 3
MOST_PASSES, FEWEST_PASSES = 32, 4
"""Rows and passes of the largest runs, the fewest for a network of which more would exceed the limits below."""
MULTIPLY_ADDS_PER_RUN = 2**35
BYTES_PER_RUN = 2**30
SEED = 7
"""The seed of masks and varied rows."""
RANGES_TRIED = 8
"""The largest number of different ranges that are checked for an input."""

_SEAL = object()


@dataclass(frozen=True, slots=True)
class Verified:
    """Graphs that passed every check, as the bytes that were checked; only `verify` can make them."""

    predict: bytes = field(repr=False)
    sample: bytes = field(repr=False)
    weights: Weights = field(repr=False)
    sites: tuple[DropoutSite, ...]
    bypassed_sites: tuple[str, ...]
    inputs: tuple[TensorSpec, ...]
    output: TensorSpec
    checks: tuple[Check, ...]
    seal: InitVar[object]

    def __post_init__(self, seal: object) -> None:
        """Refuse graphs that `verify` did not make."""
        if seal is not _SEAL:
            raise TypeError("only verify makes Verified graphs")

    def open(self) -> tuple[Graph, Graph]:
        """Return both graphs, predict.onnx first, as the service loads them."""
        return open_graphs(self.predict, self.sample, self.weights.folder)


def verify(network: nn.Module | Reference, exported: Exported, example: tuple[Tensor, ...]) -> Verified:
    """Check the graphs against the network and each other; raise VerificationFailed at the first that fails.

    The network is a torch module, or any Reference. `example` is one tensor for each input, of one row or more; larger
    batches repeat its rows, floating point numbers slightly changed. Whole numbers and masks are not changed, so that
    they stay valid; then the rows must not all be equal.
    """
    predict, sample = exported.predict.SerializeToString(), exported.sample.SerializeToString()
    reference = TorchReference(network) if isinstance(network, nn.Module) else network
    subject = _Subject(reference, exported, example, *_load(exported, predict, sample))
    checks = tuple(_checks(subject))
    return Verified(
        predict,
        sample,
        exported.weights,
        exported.sites,
        exported.bypassed_sites,
        exported.inputs,
        exported.output,
        checks,
        _SEAL,
    )


def _checks(subject: "_Subject") -> Iterator[Check]:
    exported = subject.exported
    yield no_randomness(exported)
    yield same_weights(exported)
    yield no_metadata(exported)
    yield every_draw_is_a_mask(exported, subject.reference.draws(subject.rows(2)))
    yield _service_loads(subject)
    yield _predict_agrees(subject)
    yield _rows_are_independent(subject)
    yield _ones_change_nothing(subject)
    yield _sample_agrees(subject)
    yield _masks_matter(subject)
    yield _refusals_agree(subject)


class _Subject:
    """The network and its two graphs, ready to run on the same rows."""

    def __init__(
        self, reference: Reference, exported: Exported, example: tuple[Tensor, ...], predict: Graph, sample: Graph
    ) -> None:
        self.reference = reference
        self.exported = exported
        self.example = example
        self.predict = predict
        self.sample = sample
        self._network = Network(predict, sample)
        self.most_rows, self.most_passes = largest_run(measure_work(exported.sample))

    @property
    def batches(self) -> tuple[int, ...]:
        """Batch sizes of the checks."""
        return tuple(sorted({1, FEWEST_ROWS, self.most_rows}))

    def rows(self, rows: int) -> tuple[Tensor, ...]:
        given = example_rows(self.example, rows)
        masks = [_may_be_mask(tensor) for tensor in self.example]
        return tuple(
            tensor if mask and not all(masks) else _varied(tensor) for tensor, mask in zip(given, masks, strict=True)
        )

    def feeds(self, rows: int) -> dict[str, Array]:
        names = [spec.name for spec in self.exported.inputs]
        return {name: tensor.numpy() for name, tensor in zip(names, self.rows(rows), strict=True)}

    def answers(self, feeds: Mapping[str, Array], masks: Sequence[Array]) -> Array:
        """Return the outputs (passes, rows, outputs) of both graphs together."""
        return self._network.sample(self._network.begin(feeds)[1], masks)

    def masks(self, passes: int) -> list[Array]:
        """Return masks (passes, 1, *shape) for each site."""
        return [draw_masks(SEED, i, site.p, site.shape, 0, passes) for i, site in enumerate(self.exported.sites)]


def largest_run(work: Work) -> tuple[int, int]:
    """Return the rows and passes of the largest run of a graph with this work for a row and pass."""
    runs = min(MULTIPLY_ADDS_PER_RUN / work.multiply_adds, BYTES_PER_RUN / work.bytes)
    rows = MOST_ROWS if runs >= MOST_ROWS * FEWEST_PASSES else FEWEST_ROWS
    return rows, min(MOST_PASSES, max(FEWEST_PASSES, int(runs / rows)))


def _load(exported: Exported, predict: bytes, sample: bytes) -> tuple[Graph, Graph]:
    try:
        return open_graphs(predict, sample, exported.weights.folder)
    except InvalidModel as error:
        raise failed("the service can load the graphs", f"{error.message}{advice(exported.predict)}") from None


def _may_be_mask(rows: Tensor) -> bool:
    """Return whether all are 0 or 1, for which other numbers may be invalid."""
    return bool(((rows == 0) | (rows == 1)).all())


def _varied(rows: Tensor) -> Tensor:
    """Return different rows: each number up to a tenth larger, keeping its sign, or from 0 to 1 where all are 0."""
    if not rows.is_floating_point():
        return rows  # other whole numbers may be invalid for the network
    noise = torch.rand(rows.shape, generator=torch.Generator().manual_seed(SEED), dtype=rows.dtype)
    return rows + noise * (rows / 10 if rows.any() else 1)


def _service_loads(subject: _Subject) -> Check:
    """Check the graphs by the service's own rules, with a manifest of them."""
    name = "the service can load the graphs"
    exported = subject.exported
    try:
        check_graphs(_draft(exported), subject.predict, subject.sample)
    except InvalidModel as error:
        raise failed(name, error.message) from None
    return Check(name, f"inputs {len(exported.inputs)}, masks {len(exported.sites)}, outputs 1")


def _draft(exported: Exported) -> Manifest:
    """Return a manifest that these graphs may have."""
    return Manifest(
        name="draft",
        version=1,
        task="regression",
        inputs=exported.inputs,
        output=exported.output,
        sites=exported.sites,
        files=dict.fromkeys(REQUIRED_FILES, sha256(b"")),
    )


def _predict_agrees(subject: _Subject) -> Check:
    def difference(rows: int) -> float:
        wanted = subject.reference.predict(subject.rows(rows))
        return _difference(wanted, subject.exported.ending.answer(subject.predict.run(subject.feeds(rows))))

    return _largest(
        subject, "predict.onnx answers as the network does", difference, network_tolerance(subject.exported.predict)
    )


def _rows_are_independent(subject: _Subject) -> Check:
    """Check that rows do not affect each other, as the service answers several callers in one batch."""
    name = "a row's answer does not depend on the rows beside it"
    masks = subject.masks(2)

    def difference(rows: int) -> float:
        together, alone = subject.feeds(rows), list(_single(subject.feeds(rows)))
        predicted = [subject.predict.run(feed) for feed in alone]
        sampled = [subject.answers(feed, masks) for feed in alone]  # each (passes, 1, outputs)
        return max(
            _difference(subject.predict.run(together), np.concatenate(predicted)),
            _difference(subject.answers(together, masks), np.concatenate(sampled, axis=1)),
        )

    check = _largest(subject, name, difference, network_tolerance(subject.exported.predict))
    _check_variety(subject, name)
    return check


def _check_variety(subject: _Subject, name: str) -> None:
    """Refuse rows that are all alike, or get the same answer, for which the check is void; some inputs may be alike."""
    feeds = subject.feeds(subject.most_rows)
    if all((rows == rows[0]).all() for rows in feeds.values()):
        raise failed(name, "the example's rows are all the same; give rows that differ")
    answers = subject.predict.run(feeds)
    if (answers == answers[0]).all():
        raise failed(name, "all rows of the example get the same answer, which shows nothing; give rows that differ")


def _single(feeds: Mapping[str, Array]) -> Iterator[dict[str, Array]]:
    for row in range(len(next(iter(feeds.values())))):
        yield {name: array[row : row + 1] for name, array in feeds.items()}


def _ones_change_nothing(subject: _Subject) -> Check:
    def difference(rows: int) -> float:
        ones = [np.ones_like(mask) for mask in subject.masks(2)]
        wanted = subject.predict.run(subject.feeds(rows))
        return _difference(np.stack([wanted, wanted]), subject.answers(subject.feeds(rows), ones))

    return _largest(
        subject, "masks of ones give what predict.onnx gives", difference, graph_tolerance(subject.exported.predict)
    )


def _sample_agrees(subject: _Subject) -> Check:
    def difference(rows: int) -> float:
        return max(_pass_difference(subject, rows, passes) for passes in (1, subject.most_passes))

    limit = network_tolerance(subject.exported.sample)
    return _largest(subject, "sample.onnx answers as the network does with the same masks", difference, limit)


def _pass_difference(subject: _Subject, rows: int, passes: int) -> float:
    masks = subject.masks(passes)
    exported = subject.exported
    wanted = subject.reference.sample(subject.rows(rows), exported.masks_of_draws(masks), exported.rows_axes)
    return _difference(wanted, exported.ending.answer(subject.answers(subject.feeds(rows), masks)))


def _masks_matter(subject: _Subject) -> Check:
    name = "different masks give different answers"
    passes = subject.most_passes
    masks = [draw_masks(SEED, i, 0.5, site.shape, 0, passes) for i, site in enumerate(subject.exported.sites)]
    answers = subject.answers(subject.feeds(FEWEST_ROWS), masks)  # (passes, rows, outputs)
    if not (spread := float(np.ptp(answers, axis=0).max())) > 0:
        raise failed(name, f"{passes} passes give the same answers on {len(answers[0])} rows")
    return Check(name, f"{passes} passes differ by up to {spread:.2g}")


def _refusals_agree(subject: _Subject) -> Check:
    """Check that whole numbers at the ends of their ranges, and beside them, are refused as the network refuses them.

    A network may accept more than the service only where it is a file: its operators accept indices that no framework
    would use (`training.exporting.lookups`).
    """
    name = "what the network refuses, the service refuses"
    draft, tried = _draft(subject.exported), 0
    for number, spec in enumerate(subject.exported.inputs):
        for place, value in _edges(spec):
            rows = list(subject.rows(1))
            rows[number] = rows[number].clone()
            rows[number].view(-1)[place] = value
            taken = _answers(lambda rows=rows: subject.reference.predict(rows))  # type: ignore[misc]
            served = _answers(lambda rows=rows: _serve(subject, draft, rows))  # type: ignore[misc]
            tried += 1
            if served and not taken:
                raise failed(name, f"{value} in {spec.name!r}: the network refuses it, and the service would accept it")
            if taken and not served and spec.ranges and isinstance(subject.reference, TorchReference):
                raise failed(name, f"{value} in {spec.name!r}: the network accepts it, and the service would refuse it")
    return Check(name, f"tried {tried} whole numbers")


def _edges(spec: TensorSpec) -> Iterator[tuple[int, int]]:
    """Yield places in a row, and whole numbers just within and just beyond the range there."""
    if not spec.ranges and spec.dtype.startswith("float"):
        return
    ranges = spec.ranges or (WholeNumbers(lowest=0, highest=np.iinfo(np.int32).max - 1),)
    first = {one: place for place, one in reversed(list(enumerate(ranges)))}
    for one, place in list(first.items())[-RANGES_TRIED:]:
        yield from ((place, one.lowest + step) for step in (0, -1) if one.lowest is not None)
        yield from ((place, one.highest + step) for step in (0, 1) if one.highest is not None)


def _serve(subject: _Subject, draft: Manifest, rows: Sequence[Tensor]) -> Array:
    """Return the service's answer; raise InvalidInput."""
    feeds = {spec.name: tensor.numpy() for spec, tensor in zip(draft.inputs, rows, strict=True)}
    return subject.predict.run(check_inputs(feeds, draft, max_rows=1))


def _answers(run: Callable[[], Array]) -> bool:
    """Return whether there is a finite answer."""
    try:
        return bool(np.isfinite(run()).all())
    except Exception:  # noqa: BLE001 - a network may raise anything
        return False


def _largest(subject: _Subject, name: str, difference: Callable[[int], float], limit: float) -> Check:
    """Check the largest of the differences at several batch sizes; raise VerificationFailed when it is too large."""
    differences = {}
    for rows in subject.batches:
        try:
            differences[rows] = difference(rows)
        except TrainingError as error:
            raise failed(name, f"at {rows} rows: {error.message}") from None
        except Exception as error:  # onnxruntime raises many unrelated types, all subclasses of Exception
            raise failed(name, f"cannot run at {rows} rows: {error}") from error
        if not differences[rows] <= limit:
            figures = f"a relative difference of {differences[rows]:.2e} at {rows} rows; {limit:.0e} is allowed"
            raise failed(name, figures)
    return Check(
        name, f"relative difference at most {max(differences.values()):.1e} at {_listed(subject.batches)} rows"
    )


def _difference(wanted: Array, got: Array) -> float:
    """Return the largest difference, relative to the largest expected number, or to 1."""
    if wanted.shape != got.shape:
        raise TrainingError(f"expected an answer of shape {wanted.shape}; found {got.shape}")
    for which, answer in (("of the network", wanted), ("of the graph", got)):
        if not np.isfinite(answer).all():
            raise TrainingError(f"the answer {which} has numbers that are not finite")
    return float(np.abs(got - wanted).max() / max(1.0, float(np.abs(wanted).max())))


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
