"""The growth of time with passes, rows, width, loaded models and connections: `python -m benchmarks.growth`."""
