"""Reproduce published experiments: `python -m benchmarks.reproduce`."""

from benchmarks.reproduce.cli import app

app(prog_name="python -m benchmarks.reproduce")
