"""The command line: `python -m benchmarks.reproduce uci`, `mnist` and `labels`."""

import typer

from benchmarks.reproduce.labels.cli import labels
from benchmarks.reproduce.mnist.cli import mnist
from benchmarks.reproduce.uci.cli import uci

app = typer.Typer(help="Reproduce published experiments.", no_args_is_help=True, add_completion=False)


@app.callback()
def main() -> None:
    """Reproduce published experiments."""


app.command()(uci)
app.command()(mnist)
app.command()(labels)
