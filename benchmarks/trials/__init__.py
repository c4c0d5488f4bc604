"""Ideas that might make sampling cheaper, each judged by measurement: `python -m benchmarks.trials.<name>`."""
