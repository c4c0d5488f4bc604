"""Load a model's folder: verify it, warm it up, and return an engine."""
