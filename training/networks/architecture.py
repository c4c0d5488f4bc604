"""Choose and build the network for a data set: a built-in one, or the user's own."""

import copy
import importlib
import inspect
import os
import sys
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from training.config import TrainConfig
from training.data import Dataset
from training.errors import TrainingError
from training.exporting.ending import are_probabilities
from training.exporting.inject import random_draws, sampling_copy
from training.networks.device import autocast, named, out_of_memory, random_states, restore_random
from training.networks.network import MIN_LENET_PIXELS, make_encoding, make_lenet, make_mlp, make_resnet

Network = Literal["mlp", "lenet", "resnet"]


def choose_network(config: TrainConfig, data: Dataset) -> Network:
    """Return the kind of network; `auto` is LeNet for images of 16 pixels a side and more, else an MLP.

    Raises TrainingError for a network that cannot take this data.
    """
    size = data.inputs.shape[2:]  # () for a table
    large = bool(size) and min(size) >= MIN_LENET_PIXELS
    if config.network == "auto":
        return "lenet" if large else "mlp"
    if config.network != "mlp" and not size:
        raise TrainingError(f"network: {config.network} needs images, and {data.name} has rows of columns; use mlp")
    if config.network == "lenet" and not large:
        raise TrainingError(
            f"network: lenet needs images of {MIN_LENET_PIXELS} pixels a side or more; {data.name} has"
            f" {'×'.join(map(str, size))}; use resnet or mlp"
        )
    return config.network


def make_network(config: TrainConfig, data: Dataset, rows: Tensor) -> nn.Module:
    """Return an untrained network: standardised rows to logits, or for a regression to standardised values (rows,
    outputs).

    Where the noise is learned, its outputs follow the values: see `mean_and_noise`. `rows` are some standardised rows.
    Raises TrainingError.
    """
    outputs = len(data.labels) or (2 if config.noise == "learned" else 1)
    p, input_p = config.dropout, config.input_dropout
    if config.module:
        return _own(config.module, data, rows, outputs)
    kind = choose_network(config, data)
    first = make_encoding(data)
    if kind == "lenet":
        return make_lenet(first, rows.shape[1:], config.hidden, outputs, p, input_p)
    if kind == "resnet":
        return make_resnet(first, rows.shape[1], outputs, p, input_p)
    if rows.ndim == 4:
        first["flatten"] = nn.Flatten()
    return make_mlp(first, encoded_shape(first, rows)[0], config.hidden, outputs, p, input_p)


def encoded_shape(encoding: OrderedDict[str, nn.Module], rows: Tensor) -> tuple[int, ...]:
    """Return the shape of one row behind the encoding."""
    with torch.no_grad():
        return tuple(nn.Sequential(encoding)(rows[:1]).shape[1:])


def _own(place: str, data: Dataset, rows: Tensor, outputs: int) -> nn.Module:
    """Return the user's module behind the encoding; raise TrainingError naming the expected behaviour."""
    module = _build(place, data)
    encoding = make_encoding(data)
    shape = encoded_shape(encoding, rows)
    network = nn.Sequential(OrderedDict([*encoding.items(), ("network", module)]))
    noise = ", a value and then the input of the softplus that gives its noise" * (outputs > (len(data.labels) or 1))
    wanted = (
        f"module {place}: expected to map preprocessed rows (rows, {', '.join(map(str, shape))}) to"
        f" (rows, {outputs}){noise}"
    )
    state = torch.get_rng_state()
    try:
        with torch.no_grad():
            answer = network.eval()(rows[:3])
    except Exception as error:
        raise TrainingError(f"{wanted}; it fails: {type(error).__name__}: {error}") from error
    torch.set_rng_state(state)
    if not isinstance(answer, Tensor) or answer.shape != (len(rows[:3]), outputs):
        found = tuple(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
        raise TrainingError(f"{wanted}; for {len(rows[:3])} rows it answers {found}")
    if data.labels and are_probabilities(answer.numpy()):
        raise TrainingError(
            f"{wanted}; it answers with probabilities, and the loss takes logits: leave out the softmax"
        )
    if not random_draws(sampling_copy(network), (rows[:3],)):
        raise TrainingError(f"module {place}: has no dropout (0 < p < 1), and hence nothing to sample")
    return network


def check_trains(network: nn.Module, rows: Tensor, device: torch.device, precision: torch.dtype, name: str) -> None:
    """Try a training step of the user's network on its device; raise TrainingError where it fails.

    `make_network` tries it on the CPU and without gradients. A copy is used, as BatchNorm records its inputs.
    """
    states = random_states(device)
    try:
        with autocast(device, precision):
            answers = copy.deepcopy(network).train()(rows[:3].to(device))
        answers.float().sum().backward()
    except Exception as error:
        if out_of_memory(error):
            raise
        advice = (
            "; its tensors that are not parameters must be buffers (register_buffer), and forward must make new tensors"
            " on the device of the rows"
        )
        raise TrainingError(
            f"{name}: answers on the CPU, and fails in a training step on {device} in {named(precision)}:"
            f" {type(error).__name__}: {error}{'' if device.type == 'cpu' else advice}"
        ) from error
    restore_random(states, device)


def _build(place: str, data: Dataset) -> nn.Module:
    build = _find(place)
    try:
        module = build(data) if inspect.signature(build).parameters else build()
    except Exception as error:
        raise TrainingError(f"module {place}: cannot be built: {type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise TrainingError(
            f"module {place}: expected to return a torch.nn.Module; it returns a {type(module).__name__}"
        )
    return module


def _find(place: str) -> Callable[..., Any]:
    package, _, name = place.partition(":")
    if os.getcwd() not in sys.path:  # noqa: PTH109 - `python -m` has it, an entry point has not
        sys.path.append(os.getcwd())  # noqa: PTH109
    try:
        found = getattr(importlib.import_module(package), name)
    except Exception as error:
        raise TrainingError(f"module {place}: cannot be imported: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise TrainingError(f"module {place}: expected a function; it is a {type(found).__name__}")
    return found  # type: ignore[no-any-return]
