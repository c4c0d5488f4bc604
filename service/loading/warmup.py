"""Warm up a loaded model, and measure its cost and which computations may be combined."""

import numpy as np

from service.engine.answers import Prediction
from service.engine.costs import Cost, measure
from service.engine.cuts import cut_rows
from service.engine.engine import BATCHED_SECONDS, Engine, Learned
from service.engine.inputs import Inputs, count_rows, take
from service.engine.sampling import Sampling

ROWS_TRIED = 256
"""Rows of the largest run: enough to measure the cost of a row, and few, as onnxruntime keeps that run's memory."""
EXAMPLES_TRIED = 8
PASSES = 32
ODD_PASSES = 31
"""Passes of the trial whether rows are independent. Kernels that compute eight values at a time may round the last ones
of an array otherwise, of which 32 passes leave none."""
FEW_PASSES = 3
"""Passes of the trial with many rows, whose runs are as large as those of many passes."""


def warm_up(engine: Engine) -> Learned:
    """Run the examples a few times and return the measurements; without examples there are none.

    Invented rows such as zeros might be invalid for the network. Small networks, which gain from it, are also tested
    for bitwise equal results of combined runs, as some kernels of matrix products sum in another order for one row
    than for many.
    """
    if not engine.examples:
        return Learned()
    per_run, row_passes = engine.rows_per_run, engine.row_passes_per_run
    row_cost = measure(lambda count: engine.predict(_examples(engine, count)), 1, min(ROWS_TRIED, per_run))
    learned = Learned(row_cost._replace(per_run=per_run))
    if row_cost.seconds(1) <= BATCHED_SECONDS:
        examples = {name: array[:EXAMPLES_TRIED] for name, array in engine.examples.items()}
        learned = learned._replace(rows_are_independent=_rows_are_independent(engine, examples))
    passes = min(PASSES, row_passes)
    rows, sampling = max(1, min(ROWS_TRIED, row_passes) // passes), Sampling(passes, seed=0)
    cost = measure(lambda count: engine.sample(_examples(engine, count), sampling), 1, min(rows, per_run))
    each, run = max(0.0, cost.each - row_cost.each) / passes, max(0.0, cost.run - row_cost.run)
    return learned._replace(row_pass_cost=Cost(each, run, row_passes))


def _rows_are_independent(engine: Engine, inputs: Inputs) -> bool:
    """Return whether runs of one, two, three and many rows give bitwise the same answers as one run of all."""
    if not _differ(inputs):
        return False  # equal rows would hide a difference
    if not _many_rows_are_independent(engine, inputs):
        return False
    sampling = Sampling(ODD_PASSES, seed=0)
    predicted, drawn = engine.predict(inputs), engine.draw_all(inputs, sampling)
    return all(
        _equal(engine.predict(take(inputs, some)), predicted.take(some))
        and np.array_equal(engine.draw_all(take(inputs, some), sampling), drawn[:, some])
        for together in (1, 2, 3)
        for some in cut_rows(count_rows(inputs), together)
    )


def _many_rows_are_independent(engine: Engine, inputs: Inputs) -> bool:
    """Return whether a run of many rows, which are these repeated, gives bitwise the same answers as a run of these."""
    count, few_passes = count_rows(inputs), Sampling(FEW_PASSES, seed=0)
    predicted, drawn = engine.predict(inputs), engine.draw_all(inputs, few_passes)
    row_passes = min(ROWS_TRIED, engine.row_passes_per_run)
    many, many_drawn = row_passes, max(1, row_passes // FEW_PASSES)
    predicted_of_many = engine.predict(_repeat(inputs, many))
    drawn_of_many = engine.draw_all(_repeat(inputs, many_drawn), few_passes)
    return all(
        _equal(predicted_of_many.take(some), predicted.take(slice(some.stop - some.start)))
        for some in cut_rows(many, count)
    ) and all(
        np.array_equal(drawn_of_many[:, some], drawn[:, : some.stop - some.start])
        for some in cut_rows(many_drawn, count)
    )


def _equal(one: Prediction, other: Prediction) -> bool:
    if one.noise_std is not None and other.noise_std is not None and not np.array_equal(one.noise_std, other.noise_std):
        return False
    return np.array_equal(one.values, other.values)


def _differ(inputs: Inputs) -> bool:
    """Return whether at least two rows differ."""
    return any(len(array) > 1 and (array != array[:1]).any() for array in inputs.values())


def _examples(engine: Engine, rows: int) -> Inputs:
    """Return this many rows, the examples repeated."""
    return _repeat(engine.examples, rows)


def _repeat(inputs: Inputs, rows: int) -> Inputs:
    return {name: np.resize(array, (rows, *array.shape[1:])) for name, array in inputs.items()}
