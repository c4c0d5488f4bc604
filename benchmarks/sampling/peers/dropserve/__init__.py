"""Which networks are asked where a caller names no seed."""

DEFAULT_SEED = 0
