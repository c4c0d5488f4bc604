"""The cost of the prediction log: `python -m benchmarks.prediction_log`."""
