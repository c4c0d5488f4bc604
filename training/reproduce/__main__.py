"""`python -m training.reproduce`."""

from training.reproduce.cli import app

if __name__ == "__main__":  # not in the processes that it starts
    app(prog_name="python -m training.reproduce")
