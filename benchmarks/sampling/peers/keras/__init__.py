"""Set the backend of Keras, which is read on import."""

import os

os.environ["KERAS_BACKEND"] = "jax"
