"""The command line as `python -m training`; installed, its commands are those of `dropserve`."""

from training.cli import app

app(prog_name="python -m training")
