"""Claim 3: only the training flag determines whether units are dropped."""

import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from onnx import ModelProto, numpy_helper
from torch import nn

from service.engine.sampling import Sampling
from service.model.runtime import Array, Graph
from training.behaviour.claim import Claim, Finding, Table
from training.behaviour.networks import Network
from training.behaviour.served import distinct, inputs_of, run
from training.behaviour.settings import Settings
from training.exporting.export import training_graph

ROWS = 32
"""Rows of each call."""
KERAS = "; in Keras `trainable=False`"
NO_KERAS = "Keras was not installed here, so only torch was measured."


def flag(network: Network, settings: Settings) -> Claim:
    """Return the claim, measured on a network with dropout layers."""
    cases = list(_torch_cases(network, settings))
    keras = list(_keras_cases(network.p, settings)) if importlib.util.find_spec("keras") else []
    return Claim(
        "flag",
        "Only the training flag matters",
        f"Freezing parameters (`requires_grad=False`{KERAS if keras else ''}) does not stop dropout, which has no"
        " weights; evaluation mode does. onnxruntime's default session silently removes dropout from a"
        " graph that was exported in training mode, so Dropserve feeds the masks as inputs.",
        (*(finding for finding, _ in cases), *keras, *_in_onnxruntime(network, settings)),
        f"The same {ROWS} rows were run {settings.calls} times in each state, and different answers counted to the"
        " last bit; «zeroed» is the share of the active units of the first dropout layer that became 0."
        f" onnxruntime {version('onnxruntime')} ran the network exported in training mode, and the sample.onnx that is"
        f" served. {_about_keras() if keras else NO_KERAS}",
        tables=(Table("torch, state by state.", ("state", "different answers", "zeroed"), [row for _, row in cases]),),
    )


def _about_keras() -> str:
    return f"Keras {version('keras')} was measured beside torch."


def _torch_cases(network: Network, settings: Settings) -> Iterator[tuple[Finding, tuple[str, ...]]]:
    everything = settings.calls
    yield _case(network, settings, "train(), requires_grad=False", everything, mode=True, trainable=False)
    yield _case(network, settings, "train(), requires_grad=True", everything, mode=True)
    yield _case(network, settings, "train(), inside torch.no_grad()", everything, mode=True, inside=torch.no_grad)
    yield _case(network, settings, "eval(), requires_grad=True", 1, mode=False)
    yield _case(network, settings, "eval(), requires_grad=False", 1, mode=False, trainable=False)


def _case(
    network: Network,
    settings: Settings,
    state: str,
    wanted: int,
    *,
    mode: bool,
    trainable: bool = True,
    inside: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> tuple[Finding, tuple[str, ...]]:
    module, rows = network.module, network.test.inputs[:ROWS]
    module.train(mode).requires_grad_(trainable)
    with inside(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(network.seed)
        found = distinct(lambda: module(torch.from_numpy(rows)).detach().numpy(), settings.calls)
        zeroed = _zeroed(module, rows)
    module.eval().requires_grad_(True)
    what = f"torch, {state}: different answers in {settings.calls} calls"
    finding = Finding(what, f"{found}, {zeroed:.1%} zeroed", f"{wanted}", found == wanted)
    return finding, (state, f"{found} of {settings.calls}", f"{zeroed:.1%}")


def _zeroed(module: nn.Module, rows: Array) -> float:
    """Return the share of the active units of the first dropout layer that become 0."""
    shares: list[float] = []

    def note(_: nn.Module, given: tuple[torch.Tensor, ...], answer: torch.Tensor) -> None:
        active = given[0] != 0
        shares.append(float((answer[active] == 0).double().mean()))

    layer = next(part for part in module.modules() if isinstance(part, nn.Dropout))
    handle = layer.register_forward_hook(note)
    run(module, rows)
    handle.remove()
    return shares[0]


def _in_onnxruntime(network: Network, settings: Settings) -> Iterator[Finding]:
    exported = training_graph(network.module, network.example)
    content, count = exported.SerializeToString(), _switched_on(exported)
    inputs, calls = inputs_of(network.served, network.test.inputs[:ROWS]), settings.calls
    yield Finding(
        "Dropout operators with training_mode=true in the exported graph", f"{count}", "at least 1", count > 0
    )
    default = Graph(content)
    found = distinct(lambda: default.run(inputs), calls)
    what = f"onnxruntime's default session on it: different answers in {calls} calls"
    yield Finding(what, f"{found}", "1: dropout removed", found == 1)
    plain = Graph(content, optimise=False)
    found = distinct(lambda: plain.run(inputs), calls)
    what = f"the same graph with onnxruntime's optimisations off: different answers in {calls} calls"
    yield Finding(what, f"{found}", f"{calls}: dropout active", found == calls)
    engine = network.served.engine
    samples = {seed: engine.draw_all(inputs, Sampling(calls, seed)) for seed in (7, 8)}
    found = len({one.tobytes() for one in samples[7]})
    what = f"Dropserve's sample.onnx, masks as inputs: different answers in {calls} passes"
    yield Finding(what, f"{found}", f"{calls}", found == calls)
    same = engine.draw_all(inputs, Sampling(calls, 7)).tobytes() == samples[7].tobytes()
    yield Finding("the same seed again", "equal bytes" if same else "different", "equal bytes", same)
    other = not np.array_equal(samples[7], samples[8])
    yield Finding("another seed", "different" if other else "equal bytes", "different", other)


def _switched_on(model: ModelProto) -> int:
    """Return the number of Dropout operators in training mode."""
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    made = {node.output[0]: node for node in model.graph.node if node.op_type == "Constant"}
    for name, node in made.items():
        known[name] = numpy_helper.to_array(node.attribute[0].t)
    drops = [node for node in model.graph.node if node.op_type == "Dropout" and len(node.input) > 2]
    return sum(bool(known[node.input[2]]) for node in drops)


def _keras_cases(p: float, settings: Settings) -> Iterator[Finding]:
    """Yield findings on Keras' own layer, on torch unless another backend is set."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    layer = keras.layers.Dropout(p, seed=0)
    ones = np.ones((ROWS, ROWS), dtype=np.float32)
    for trainable in (True, False):
        for training, wanted in ((True, settings.calls), (False, 1)):
            layer.trainable = trainable
            found = distinct(lambda: keras.ops.convert_to_numpy(layer(ones, training=training)), settings.calls)  # noqa: B023
            what = f"Keras, training={training}, trainable={trainable}: different answers in {settings.calls} calls"
            yield Finding(what, f"{found}", f"{wanted}", found == wanted)
