"""Dropserve's engine; see __main__."""

DEFAULT_SEED = 0
"""The seed of callers that name none."""
