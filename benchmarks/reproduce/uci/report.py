"""Make a record of the results, and a table beside the published figures."""

from collections.abc import Mapping
from dataclasses import asdict

import torch
from rich.table import Table

from benchmarks.reproduce.records import Record
from benchmarks.reproduce.uci.experiment import Result, Study
from benchmarks.reproduce.uci.figures import mean_and_error
from benchmarks.reproduce.uci.protocol import CORRECTED, PAPER, Published

COLUMNS = ("data", "layers", "epochs", "figure", "Dropserve", "paper, 2016", "authors, 2018", "within one error")


def record(study: Study, results: list[Result], seconds: float) -> Record:
    """Return settings, a line for each split, and means with standard errors."""
    settings = ("layers", "hidden", "epochs", "splits", "passes", "validation_passes", "merge_taus", "seed")
    return {
        "data": study.table.name,
        "rows": len(study.table.targets),
        **{key: getattr(study, key) for key in settings},
        "seconds": round(seconds, 1),
        "torch": torch.__version__,
        "rmse": mean_and_error([result.rmse for result in results]),
        "log_likelihood": mean_and_error([result.log_likelihood for result in results]),
        "each": [asdict(result) for result in results],
    }


def table(records: list[Record]) -> Table:
    """Return two lines a record: RMSE, where less is better, and log-likelihood, where more is."""
    shown = Table(*COLUMNS, title="Test figures, mean ± standard error over the splits")
    for one in records:
        for line in lines(one):
            shown.add_row(*line)
    return shown


def lines(one: Record) -> list[tuple[str, ...]]:
    """Return the cells of a record's lines, for COLUMNS."""
    name, layers = one["data"], one["layers"]
    paper, corrected = PAPER.get(name) if layers == 1 else None, CORRECTED.get((name, layers))
    fine = _within(one, corrected)
    head = (name, str(layers), str(one["epochs"]))
    return [
        (*head, "RMSE", _text(*one["rmse"]), _published(paper, 0), _published(corrected, 0), fine["rmse"]),
        (*head, "LL", _text(*one["log_likelihood"]), _published(paper, 2), _published(corrected, 2), fine["ll"]),
    ]


def _within(one: Record, corrected: Published | None) -> Mapping[str, str]:
    """Return whether the figures are at most one standard error worse than the authors', at their printed precision."""
    if corrected is None:
        return {"rmse": "", "ll": ""}
    worst_rmse, worst_likelihood = corrected.worst
    rmse, likelihood = round(one["rmse"][0], 2), round(one["log_likelihood"][0], 2)
    return {
        "rmse": "yes" if rmse <= round(worst_rmse, 2) else "no",
        "ll": "yes" if likelihood >= round(worst_likelihood, 2) else "no",
    }


def _text(mean: float, error: float) -> str:
    digits = 4 if abs(mean) < 0.2 else 3
    return f"{mean:.{digits}f} ± {error:.{digits}f}"


def _published(figures: Published | None, first: int) -> str:
    return "" if figures is None else f"{figures[first]:.2f} ± {figures[first + 1]:.2f}"


def key(one: Record) -> tuple[str, int]:
    """Return the key of a record."""
    return one["data"], one["layers"]
