"""The number of cores that a load needs, by the measured cost of a request: `python -m benchmarks.scaling`."""
