"""The speed of serving models, beside peers, with every answer verified: `python -m benchmarks.serving`."""
