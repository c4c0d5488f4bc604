"""Keras reads which backend to use when it is imported; JAX compiles the step, and was the faster one in trials."""

import os

os.environ["KERAS_BACKEND"] = "jax"
