"""The time of MC dropout's uncertainty in process, beside every peer: `python -m benchmarks.sampling`."""
