"""Make a data set of a table of any format."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from service.errors import DropserveError
from service.rows.column import Column, Table, Wanted, as_text, to_objects
from service.rows.formats import RowsFile
from service.rows.numbers import possible_decimals
from training.data.choices import Choices
from training.data.columns import Feature, check_choices, listed, make_feature
from training.data.dataset import ColumnSeen, Dataset, Int64
from training.data.targets import make_target
from training.errors import TrainingError


def read_table(file: RowsFile, choices: Choices) -> Dataset:
    """Return the data set of a CSV, JSON Lines or Parquet file, with its column names; raise TrainingError."""
    try:
        columns, target = _read(file.table(), file, choices)
    except TrainingError:
        raise
    except DropserveError as error:
        raise TrainingError(f"{file.name}: {error.message}") from None
    return make_dataset(file.name, columns, target, choices)


def _read(table: Table, file: RowsFile, choices: Choices) -> tuple[list[Column], str]:
    """Return the columns that are not ignored, and the name of the target."""
    names = table.names
    if not any(names):
        raise TrainingError(f"{file.name}: its first line is empty; expected the names of the columns there")
    if file.kind == "csv" and all(possible_decimals([name]) for name in names):
        raise TrainingError(
            f"{file.name}: its first line holds numbers ({', '.join(names)[:60]}); write the names of the columns there"
        )
    if twice := sorted({name for name in names if name and names.count(name) > 1} - set(choices.ignore)):
        raise TrainingError(
            f"{file.name}: columns share the name {listed(twice)}; give each a name of its own, or use --ignore"
        )
    target = check_choices(file.name, names, choices)
    if not table.rows:
        raise TrainingError(f"{file.name}: has no rows")
    wanted: dict[int, Wanted] = {
        number: "text" if name in choices.categorical else "any"
        for number, name in enumerate(names)
        if name not in choices.ignore
    }
    columns = [_of_one_kind(file.name, column, choices) for column in table.read(wanted) if not _is_nothing(column)]
    return columns, target


def _is_nothing(column: Column) -> bool:
    """Return whether a column is only a delimiter at the end of each line, as spreadsheets write it."""
    return not column.name and bool(column.missing.all())


def _of_one_kind(where: str, column: Column, choices: Choices) -> Column:
    """Return a column of numbers, of true and false, or of texts; raise TrainingError for any other."""
    if column.odd:
        such = ", such as days since a day" * (column.odd == "dates")
        raise TrainingError(
            f"{where}: column {column.name!r} holds {column.odd}, which a network cannot learn from; turn it into"
            f" numbers{such}, or use --ignore {column.name}"
        )
    if column.name in choices.categorical:
        texts = [as_text(value) for value in column.values.tolist()]
        booleans = {text.lower() for text in texts} <= {"true", "false"}
        return replace(column, values=to_objects([text.lower() if booleans else text for text in texts]))
    if column.values.dtype.kind == "O":
        kinds = [type(value) for value in column.values]
        if other := next((row for row, kind in enumerate(kinds) if kind is not kinds[0]), None):
            raise TrainingError(
                f"{where}: column {column.name!r} holds {column.values[0]!r} and, in {column.where(other)},"
                f" {column.values[other]!r}, which are of different types; write them alike"
                + f", or use --categorical {column.name}"
                * (column.name != choices.target)
            )
    return column


def make_dataset(name: str, columns: Sequence[Column], target: str, choices: Choices) -> Dataset:
    """Return the data set of the columns that are not ignored; raise TrainingError."""
    columns, rows, notes = _complete(name, columns, target, choices)
    targets, labels, target_seen = make_target(name, next(c for c in columns if c.name == target), choices)
    others = [column for column in columns if column.name != target]
    features = [make_feature(name, column, column.name in choices.categorical) for column in others]
    used = [feature for feature in features if feature.values is not None]
    if not used:
        raise TrainingError(f"{name}: no column is left to learn from: {_why(features)}")
    unused = tuple(ColumnSeen(column, "ignored", "by --ignore") for column in choices.ignore)
    return Dataset(
        name=name,
        inputs=np.stack([feature.values for feature in used if feature.values is not None], axis=1),
        targets=targets,
        features=tuple(feature.seen.name for feature in used),
        labels=labels,
        one_unit=False,
        categories={feature.seen.name: feature.categories for feature in used if feature.categories},
        imputed=choices.missing == "median",
        columns=(*(feature.seen for feature in features), *unused, target_seen),
        notes=notes,
        dialect=choices.dialect,
        source_rows=rows,
    )


def _complete(
    name: str, columns: Sequence[Column], target: str, choices: Choices
) -> tuple[list[Column], Int64, tuple[str, ...]]:
    """Return the columns without incomplete rows, the places of the kept rows, and notes on rows left out.

    A complete row has a value in every column; where missing values are imputed, it needs only a target.
    """
    needed = [column for column in columns if choices.missing != "median" or column.name == target]
    missing = {column.name: int(column.missing.sum()) for column in needed if column.missing.any()}
    counts = listed([f"{column} ({count})" for column, count in missing.items()])
    rows = len(columns[0].values)
    if missing and choices.missing == "refuse":
        raise TrainingError(
            f"{name}: values are missing in {len(missing)} columns (of {rows} rows): {counts}; fill them in, or leave"
            " such rows out with --missing drop"
            + ", or such columns with --ignore, or in training learn from them with --missing median"
            * (set(missing) != {target})
        )
    kept = ~np.logical_or.reduce([column.missing for column in needed])
    if not kept.any():
        raise TrainingError(
            f"{name}: no row has a value in every column; missing: {counts}"
            + "; leave columns without values out with --ignore" * (set(missing) != {target})
        )
    notes = (f"{rows - kept.sum()} of {rows} rows left out, where values are missing: {counts}",) if missing else ()
    return [column.kept(kept) for column in columns], np.flatnonzero(kept), notes


def _why(features: Sequence[Feature]) -> str:
    return "; ".join(f"{feature.seen.name}: {feature.seen.seen}" for feature in features) or "there is only the target"
