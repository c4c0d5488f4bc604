"""How long the spread of thinned networks takes, in process, beside every peer: `python -m benchmarks.sampling`."""
