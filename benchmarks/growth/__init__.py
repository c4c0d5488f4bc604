"""How time grows with the work: passes, rows, width, loaded models, connections: `python -m benchmarks.growth`."""
