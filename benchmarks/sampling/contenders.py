"""The contenders, and the references of their times."""

from typing import NamedTuple

OURS = "dropserve"
REFERENCES = "onnxruntime"


class Contender(NamedTuple):
    """A folder in peers/, and one of its variants."""

    label: str
    peer: str
    variant: str


SAME_SEED = Contender("Dropserve", OURS, "same seed")
NEW_SEED = Contender("Dropserve, new seed", OURS, "new seed")
TORCH_LOOP = Contender("torch, loop", "torch", "loop")
CONTENDERS = (
    SAME_SEED,
    NEW_SEED,
    TORCH_LOOP,
    Contender("torch, repeated rows", "torch", "repeated"),
    Contender("torch-uncertainty, loop", "torch_uncertainty", "loop"),
    Contender("torch-uncertainty, batch", "torch_uncertainty", "batch"),
    Contender("Baal, replicate", "baal", "replicate"),
    Contender("Baal, caching", "baal", "caching"),
    Contender("Keras on JAX, loop", "keras", "loop"),
    Contender("Keras on JAX, repeated rows", "keras", "repeated"),
    Contender("onnxruntime, loop", "onnxruntime", "loop"),
    Contender("onnxruntime, repeated rows", "onnxruntime", "repeated"),
)
ONE_PASS = Contender("one deterministic pass", REFERENCES, "one pass")
LAYER_PRODUCTS = Contender("layer products", REFERENCES, "layer products")
LARGE_PRODUCT = Contender("large product", REFERENCES, "large product")

PEERS = tuple(dict.fromkeys(contender.peer for contender in CONTENDERS if contender.peer != OURS))
