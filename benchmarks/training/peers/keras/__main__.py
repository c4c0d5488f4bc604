"""Keras on JAX: `fit` with a compiled step."""

from typing import Any

import keras

from benchmarks.training.networks import BATCH, CLASSES, DROPOUT, LEARNING_RATE, WEIGHT_DECAY, Network, Rows
from benchmarks.training.protocol import Epoch, serve


def build(network: Network) -> Any:
    """Return the untrained network; images have channels last, as Keras requires on a CPU."""
    layers = keras.layers
    if network.name == "lenet":
        return keras.Sequential(
            [
                keras.Input((28, 28, 1)),
                *(layers.Conv2D(20, 5, activation="relu"), layers.MaxPooling2D(2)),
                *(layers.Conv2D(50, 5, activation="relu"), layers.MaxPooling2D(2)),
                *(layers.Flatten(), layers.Dropout(DROPOUT), layers.Dense(500, activation="relu")),
                *(layers.Dropout(DROPOUT), layers.Dense(CLASSES)),
            ]
        )
    hidden = [(layers.Dense(units, activation="relu"), layers.Dropout(DROPOUT)) for units in network.hidden]
    return keras.Sequential([keras.Input(network.inputs), *sum(hidden, ()), layers.Dense(CLASSES)])


def prepare(network: Network, rows: Rows, threads: int) -> Epoch:  # noqa: ARG001 - limited by the processors available
    """Return an epoch; the first one compiles."""
    keras.utils.set_random_seed(0)
    model = build(network)
    model.compile(
        optimizer=keras.optimizers.AdamW(LEARNING_RATE, weight_decay=WEIGHT_DECAY),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    inputs, targets = rows
    inputs = inputs.reshape(-1, 28, 28, 1) if network.name == "lenet" else inputs

    def epoch() -> float:
        return float(model.fit(inputs, targets, batch_size=BATCH, shuffle=True, verbose=0).history["loss"][0])

    return epoch


serve(prepare, "keras", "jax")
