"""Proves that the exported graphs do what the torch network does, or refuses them."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from onnx import ModelProto
from torch import Tensor, nn

from service.errors import InvalidModel
from service.masks import draw_masks
from service.runtime import Array, Graph
from training.errors import TrainingError
from training.export import Exported, example_rows
from training.inject import random_draws, run_with_noise, sampling_copy
from training.inspection import Check, every_draw_is_a_mask, failed, no_metadata, no_randomness, same_weights

__all__ = ["Check", "verify"]

ROWS = (1, 3, 17)
PASSES = (1, 4)
SEED = 7
AGREE = 1e-5
"""Between torch and the graphs; this and the next relative to the largest output, or to 1 if that is larger."""
EQUAL = 1e-6
"""Between the two graphs."""


def verify(module: nn.Module, exported: Exported, example: tuple[Tensor, ...]) -> tuple[Check, ...]:
    """Check the graphs against the module and each other; raises VerificationFailed at the first that fails.

    `example` is one tensor for each input, of one row or more; larger batches repeat its rows, slightly changed.
    """
    return tuple(_checks(module, exported, example))


def _checks(module: nn.Module, exported: Exported, example: tuple[Tensor, ...]) -> Iterator[Check]:
    subject = _Subject(module, exported, example)
    yield no_randomness(exported)
    yield same_weights(exported)
    yield no_metadata(exported)
    yield every_draw_is_a_mask(exported, random_draws(subject.sampling, subject.rows(2)))
    yield _predict_agrees(subject)
    yield _rows_are_independent(subject)
    yield _ones_change_nothing(subject)
    yield _sample_agrees(subject)
    yield _masks_matter(subject)


class _Subject:
    """The network and its two graphs, ready to be run on the same rows."""

    def __init__(self, module: nn.Module, exported: Exported, example: tuple[Tensor, ...]) -> None:
        self.sampling = sampling_copy(module)
        self.evaluation = sampling_copy(module).eval()
        self.exported = exported
        self.example = example
        self.predict = _load("predict.onnx", exported.predict)
        self.sample = _load("sample.onnx", exported.sample)

    def rows(self, rows: int) -> tuple[Tensor, ...]:
        changed = 1 + torch.arange(rows) / rows / 10

        def change(tensor: Tensor) -> Tensor:
            shape = (rows, *[1] * (tensor.ndim - 1))
            return tensor * changed.to(tensor.dtype).reshape(shape) if tensor.is_floating_point() else tensor

        return tuple(change(tensor) for tensor in example_rows(self.example, rows))

    def feeds(self, rows: int, masks: Sequence[Array] = ()) -> dict[str, Array]:
        names = [spec.name for spec in self.exported.inputs]
        inputs = {name: tensor.numpy() for name, tensor in zip(names, self.rows(rows), strict=True)}
        return inputs | {f"mask_{i}": mask for i, mask in enumerate(masks)}

    def masks(self, passes: int) -> list[Array]:
        """For each site (passes, 1, *shape)."""
        return [draw_masks(SEED, i, site.p, site.shape, 0, passes) for i, site in enumerate(self.exported.sites)]

    def torch_passes(self, rows: int, masks: Sequence[Array]) -> Array:
        """What torch answers with these masks: (passes, rows, outputs)."""
        inputs = self.rows(rows)
        places = list(zip(masks, self.exported.rows_axes, random_draws(self.sampling, inputs), strict=True))
        passes = []
        for number in range(len(masks[0])):
            noise = [_noise(mask[number], axis, draw.shape, rows) for mask, axis, draw in places]
            passes.append(run_with_noise(self.sampling, inputs, noise).numpy())
        return np.stack(passes)


def _load(name: str, model: ModelProto) -> Graph:
    try:
        return Graph(model.SerializeToString(), name=name)
    except InvalidModel as error:
        raise failed("the service can load the graphs", error.message) from None


def _noise(mask: Array, axis: int, shape: Sequence[int], rows: int) -> Tensor:
    """One pass's mask (1, *dims) as noise of 0 and 1, with the rows, if the noise has any, before `axis` of dims."""
    kept = torch.from_numpy(np.expand_dims(mask[0] > 0, axis))
    shared = kept.numel() == int(np.prod(shape))
    return kept if shared else kept.repeat_interleave(rows, axis)


def _predict_agrees(subject: _Subject) -> Check:
    def difference(rows: int) -> float:
        with torch.no_grad():
            wanted = subject.evaluation(*subject.rows(rows)).numpy()
        return _difference(wanted, subject.predict.run(subject.feeds(rows)))

    return _largest("predict.onnx answers as the network does", difference, AGREE)


def _rows_are_independent(subject: _Subject) -> Check:
    """The service answers several callers in one batch."""

    def difference(rows: int) -> float:
        together = subject.predict.run(subject.feeds(rows))
        alone = [subject.predict.run(feed) for feed in _single(subject.feeds(rows))]
        return _difference(together, np.concatenate(alone))

    return _largest("a row's answer does not depend on the rows beside it", difference, AGREE)


def _single(feeds: Mapping[str, Array]) -> Iterator[dict[str, Array]]:
    for row in range(len(next(iter(feeds.values())))):
        yield {name: array[row : row + 1] for name, array in feeds.items()}


def _ones_change_nothing(subject: _Subject) -> Check:
    def difference(rows: int) -> float:
        ones = [np.ones_like(mask) for mask in subject.masks(2)]
        wanted = subject.predict.run(subject.feeds(rows))
        return _difference(np.stack([wanted, wanted]), subject.sample.run(subject.feeds(rows, ones)))

    return _largest("masks of ones give what predict.onnx gives", difference, EQUAL)


def _sample_agrees(subject: _Subject) -> Check:
    def difference(rows: int) -> float:
        differences = []
        for passes in PASSES:
            masks = subject.masks(passes)
            wanted = subject.torch_passes(rows, masks)
            differences.append(_difference(wanted, subject.sample.run(subject.feeds(rows, masks))))
        return max(differences)

    return _largest("sample.onnx answers as the network does with the same masks", difference, AGREE)


def _masks_matter(subject: _Subject) -> Check:
    name = "different masks give different answers"
    masks = [draw_masks(SEED, i, 0.5, site.shape, 0, 32) for i, site in enumerate(subject.exported.sites)]
    answers = subject.sample.run(subject.feeds(3, masks))  # (passes, rows, outputs)
    if not (spread := float(np.ptp(answers, axis=0).max())) > 0:
        raise failed(name, f"32 passes all answer the same on {len(answers[0])} rows")
    return Check(name, f"32 passes lie up to {spread:.2g} apart")


def _largest(name: str, difference: Callable[[int], float], limit: float) -> Check:
    """The largest of the differences at several batch sizes; raises VerificationFailed when it is too large."""
    differences = {}
    for rows in ROWS:
        try:
            differences[rows] = difference(rows)
        except TrainingError as error:
            raise failed(name, f"at {rows} rows: {error.message}") from None
        except Exception as error:  # onnxruntime raises a dozen unrelated types, all subclasses of Exception
            raise failed(name, f"cannot run at {rows} rows: {error}") from error
        if not differences[rows] <= limit:
            figures = f"a relative difference of {differences[rows]:.2e} at {rows} rows; {limit:.0e} is allowed"
            raise failed(name, figures)
    return Check(name, f"relative difference at most {max(differences.values()):.1e} at {_listed(ROWS)} rows")


def _difference(wanted: Array, got: Array) -> float:
    """The largest, relative to the largest number that is wanted, or to 1."""
    if wanted.shape != got.shape:
        raise TrainingError(f"the answer has shape {got.shape}, and {wanted.shape} is wanted")
    return float(np.abs(got - wanted).max() / max(1.0, float(np.abs(wanted).max())))


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
