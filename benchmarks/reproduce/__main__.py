"""`python -m benchmarks.reproduce`: published experiments, run again."""

from benchmarks.reproduce.cli import app

app(prog_name="python -m benchmarks.reproduce")
