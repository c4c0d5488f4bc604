"""Set the backend of Keras, which is read on import; JAX compiles the step, and was the fastest in trials."""

import os

os.environ["KERAS_BACKEND"] = "jax"
