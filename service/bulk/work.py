"""A piece of a job: a row group → a file of answers, whole or not there."""

from collections.abc import Iterator
from time import process_time
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from service.api.replies import Columns, answer_columns, decision_column, spread_columns
from service.bulk.plan import Piece, Question
from service.bulk.store import Store, open_file
from service.bulk.tables import answer_batch, columns_needed, columns_read, read_batch
from service.decisions import decide
from service.engine import Engine
from service.errors import InvalidInput
from service.steps import Inputs

ROWS_AT_A_TIME = 4096
"""Of a row group: part of what the answers depend on, as some kernels round otherwise for few rows than for many."""


class Done(NamedTuple):
    """A piece that is there."""

    rows: int
    processor_seconds: float
    """That it took."""


def score_piece(engine: Engine, question: Question, piece: Piece, out: Store) -> Done:
    """Do it. Raises InvalidInput that names the file, and the row where it is one's fault."""
    started = process_time()
    with open_file(piece.place) as file, out.writing(piece.name) as answers:
        source = parquet.ParquetFile(file)
        writer = None
        for batch in _score(engine, question, piece, source):
            writer = writer or parquet.ParquetWriter(answers, batch.schema, compression="zstd")
            writer.write_batch(batch)
        if writer:
            writer.close()
    return Done(piece.rows, process_time() - started)


def _score(engine: Engine, question: Question, piece: Piece, source: parquet.ParquetFile) -> Iterator[pa.RecordBatch]:
    there = source.schema_arrow.names
    first = piece.first
    try:
        needed = columns_needed(engine.manifest, there)
        columns = columns_read(engine.manifest, question.keep, there)
        for batch in source.iter_batches(ROWS_AT_A_TIME, row_groups=[piece.group], columns=columns):
            answers = ask(engine, question, read_batch(batch, needed, engine.manifest))
            rows = pa.array(np.arange(first, first + batch.num_rows))
            beside = {"file": pa.array([piece.place] * batch.num_rows).dictionary_encode(), "row": rows}
            if taken := [name for name in question.keep if name in {**beside, **answers}]:
                raise InvalidInput(f"--keep {taken[0]}: the answers have a column of that name", field=taken[0])
            yield answer_batch(answers, beside | {name: batch.column(name) for name in question.keep})
            first += batch.num_rows
    except InvalidInput as error:
        at = f", counted from row {first}" if "row" in error.details else ""
        raise InvalidInput(f"{piece.place}: {error.message}{at}", **error.details) from None


def ask(engine: Engine, question: Question, inputs: Inputs) -> Columns:
    """The fields that the service answers for each row."""
    sampling = question.sampling
    if sampling is None:
        return answer_columns(engine.manifest, engine.predict(inputs))
    sampled = engine.sample(inputs, sampling)
    columns = spread_columns(engine.manifest, sampled.uncertainty)
    if decision := decide(engine.manifest, sampling, sampled.uncertainty):
        columns["decision"] = decision_column(decision)
    deterministic = answer_columns(engine.manifest, sampled.deterministic)
    return columns | {f"deterministic.{name}": values for name, values in deterministic.items()}
