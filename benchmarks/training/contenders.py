"""The contenders."""

OURS = "dropserve"
PLAIN = "torch"
LABELS = {OURS: "Dropserve", PLAIN: "plain torch loop", "lightning": "Lightning", "keras": "Keras on JAX"}
PEERS = tuple(peer for peer in LABELS if peer != OURS)
