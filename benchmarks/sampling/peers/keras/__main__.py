"""Keras on JAX: a compiled pass in a loop, and all passes as rows of one compiled batch, summary included."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from benchmarks.sampling.networks import NETWORKS
from benchmarks.sampling.protocol import Call, Rows, serve

CHANNELS_LAST = (2, 3, 1, 0)
"""Convolution weights: torch has (out, in, height, width), Keras (height, width, in, out)."""


def build(folder: Path) -> Any:
    """Return the network with its weights; images become channels last, and channels first before they are
    flattened.
    """
    network = NETWORKS[folder.name]
    model = keras.Sequential([keras.Input(network.inputs)])
    if len(network.inputs) == 3:
        model.add(keras.layers.Permute((2, 3, 1)))
    with np.load(folder / "weights.npz") as weights:
        for number, (kind, *sizes) in enumerate(network.layers):
            if kind == "flatten":
                model.add(keras.layers.Permute((3, 1, 2)))
            layer = make_layer(kind, sizes)
            model.add(layer)
            if kind in ("linear", "conv"):
                weight, bias = weights[f"{number}.weight"], weights[f"{number}.bias"]
                layer.set_weights([weight.T if kind == "linear" else weight.transpose(CHANNELS_LAST), bias])
    return model


def make_layer(kind: str, sizes: list[float]) -> Any:
    """Return the layer in Keras."""
    match kind:
        case "linear":
            return keras.layers.Dense(sizes[1])
        case "conv":
            return keras.layers.Conv2D(sizes[1], sizes[2])
        case "relu":
            return keras.layers.ReLU()
        case "dropout":
            return keras.layers.Dropout(sizes[0])
        case "pool":
            return keras.layers.MaxPooling2D(sizes[0])
        case _:
            return keras.layers.Flatten()


def summarise(logits: Any) -> Any:
    """Return mean, standard deviation, predictive and expected entropy of logits (passes, rows, classes)."""
    probabilities = jax.nn.softmax(logits)
    mean = probabilities.mean(0)
    expected = jax.scipy.special.entr(probabilities).sum(-1).mean(0)
    return mean, probabilities.std(0), jax.scipy.special.entr(mean).sum(-1), expected


def prepare(folder: Path, threads: int) -> dict[str, Call]:  # noqa: ARG001 - limited by the processors available
    """Return the calls; the seed's state is passed from one to the next, as one of Keras' untrained variables."""
    model = build(folder)
    trained = [variable.value for variable in model.trainable_variables]
    state = [variable.value for variable in model.non_trainable_variables]
    summary = jax.jit(summarise)

    def draw(state: Any, rows: Any) -> Any:
        return model.stateless_call(trained, state, rows, training=True)

    run = jax.jit(draw)

    def loop(rows: Rows, passes: int) -> Any:
        nonlocal state
        logits = []
        for _ in range(passes):
            output, state = run(state, rows)
            logits.append(output)
        return jax.block_until_ready(summary(jnp.stack(logits)))[0]

    def repeated(rows: Rows, passes: int) -> Any:
        nonlocal state
        output, state = run(state, np.tile(rows, (passes, *[1] * (rows.ndim - 1))))
        return jax.block_until_ready(summary(output.reshape(passes, len(rows), -1)))[0]

    return {"loop": loop, "repeated": repeated}


serve(prepare, "keras", "jax")
