"""The command line: `python -m training reproduce uci`, `mnist` and `labels`."""

import typer

from training.reproduce.labels.cli import labels
from training.reproduce.mnist.cli import mnist
from training.reproduce.uci.cli import uci

app = typer.Typer(help="Run published experiments again.", no_args_is_help=True, add_completion=False)


@app.callback()
def main() -> None:
    """Run published experiments again."""


app.command()(uci)
app.command()(mnist)
app.command()(labels)
