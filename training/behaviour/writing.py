"""Write the files of a report, each atomically."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from training.behaviour.page import page
from training.behaviour.report import markdown
from training.behaviour.study import Report
from training.errors import TrainingError

MARKDOWN, HTML, PLOTS = "behaviour.md", "behaviour.html", "behaviour"
READABLE_BY_ALL = 0o644
"""Mode of files, which other users may read."""


def files_of(report: Report) -> dict[str, str]:
    """Return the files by path: the page, and the Markdown with its charts in a folder beside it."""
    plots = {f"{PLOTS}/{plot.name}": plot.svg for claim in report.claims for plot in claim.plots}
    return {HTML: page(report), **plots, MARKDOWN: markdown(report, PLOTS)}


def files_of_model(report: Report) -> dict[str, str]:
    """Return the files for a model's folder, which has no subfolders: only the page has charts."""
    return {HTML: page(report), MARKDOWN: markdown(report)}


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Replace each of the files atomically. Raises TrainingError."""
    try:
        for name, content in files.items():
            _replace(folder / name, content)
    except OSError as error:
        raise _unwritable(folder, error) from None


def check_writable(folder: Path) -> None:
    """Raise TrainingError where `write` could not; called before minutes of measuring."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _unwritable(folder, error) from None


def _replace(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
        Path(beside).chmod(READABLE_BY_ALL)
        Path(beside).replace(path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


def _unwritable(folder: Path, error: OSError) -> TrainingError:
    return TrainingError(f"{error.filename or folder}: cannot be written: {error.strerror}")
