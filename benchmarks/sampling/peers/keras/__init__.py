"""Keras reads which backend to use when it is imported."""

import os

os.environ["KERAS_BACKEND"] = "jax"
