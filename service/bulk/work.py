"""Score a piece of a job: one row group, to one complete file of answers."""

from collections.abc import Iterator
from time import process_time
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from service.api.replies import Columns, answer_columns, flat_columns
from service.bulk.plan import Options, Piece
from service.bulk.sources import Reader
from service.bulk.store import Store
from service.engine.engine import Engine
from service.engine.inputs import Inputs, count_rows
from service.errors import InvalidInput, InvalidRequest
from service.inference import Request, infer

ROWS_AT_A_TIME = 4096
"""Rows of a batch, on which answers may depend, as some kernels round differently for few rows than for many."""


class Done(NamedTuple):
    """A completed piece."""

    rows: int
    processor_seconds: float
    """Processor seconds that the piece took."""


def score_piece(engine: Engine, options: Options, piece: Piece, out: Store) -> Done:
    """Score a piece and write its file. Raises InvalidInput that names the file, and the row if one is invalid."""
    started = process_time()
    with out.writing(piece.name) as answers:
        writer = None
        for batch in _score(engine, options, piece):
            writer = writer or parquet.ParquetWriter(answers, batch.schema, compression="zstd")
            writer.write_batch(batch)
        if writer:
            writer.close()
    return Done(piece.rows, process_time() - started)


def _score(engine: Engine, options: Options, piece: Piece) -> Iterator[pa.RecordBatch]:
    first, reader = piece.first, Reader(engine.manifest, options.keep, options.dialect)
    try:
        for inputs, kept in reader.batches(piece.place, piece.group, first, ROWS_AT_A_TIME):
            answers, count = score(engine, options, inputs), count_rows(inputs)
            rows = pa.array(np.arange(first, first + count))
            beside = {"file": pa.array([piece.place] * count).dictionary_encode(), "row": rows}
            if taken := [name for name in options.keep if name in {**beside, **answers}]:
                raise InvalidInput(f"--keep {taken[0]}: the answers have a column of that name", field=taken[0])
            answered = {name: pa.array(values) for name, values in answers.items()}
            yield pa.RecordBatch.from_pydict(beside | kept | answered)
            first += count
    except InvalidRequest as error:
        raise InvalidInput(f"{piece.place}: {error.message}", **error.details) from None


def score(engine: Engine, options: Options, inputs: Inputs) -> Columns:
    """Return the fields of the service's answer for each row."""
    answer = infer(Request(engine, inputs, options.sampling))
    if options.sampling is None:
        return answer_columns(engine.manifest, answer.prediction)
    return flat_columns(engine.manifest, *answer.sampling, answer.decision)
