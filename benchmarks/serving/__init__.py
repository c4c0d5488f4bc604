"""How fast models are served: Dropserve beside its peers, every answer verified. `python -m benchmarks.serving`."""
