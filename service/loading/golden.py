"""Golden answers: the publisher's answers to a few inputs, replayed when the model is loaded."""

import io
import sys

import numpy as np

from service.engine.answers import Prediction
from service.engine.engine import Engine
from service.engine.inputs import Inputs, count_rows
from service.engine.masks import MAX_SEED
from service.engine.sampling import Sampling
from service.errors import InvalidInput, InvalidModel
from service.model.manifest import GOLDEN
from service.model.runtime import Array
from service.rows.arrays import read_npz
from service.rows.inputs import check_inputs

TOLERANCE = 1e-4
"""The default tolerance of an answer, relative to the largest: another summation order of a processor differs by
about 1e-6, a changed weight by more than this. For half precision the publisher states a larger one."""
LARGEST_TOLERANCE = 0.1
"""The largest tolerance accepted; a larger one would verify nothing."""

INPUT_PREFIX = "input."

MAX_UNPACKED_BYTES = 2**28
"""The largest unpacked size of the file, which has only a few rows."""


def record(engine: Engine, inputs: Inputs, passes: int, seed: int, tolerance: float = TOLERANCE) -> bytes:
    """Return the content of `golden.npz`: the inputs, the seed, the model's answers, and the tolerance."""
    file = io.BytesIO()
    arrays = {INPUT_PREFIX + name: array for name, array in inputs.items()}
    predicted = _values(engine.predict(inputs))  # (rows, outputs)
    sampled = engine.draw_all(inputs, Sampling(passes, seed))  # (passes, rows, outputs)
    arrays |= {"seed": np.array(seed, dtype=np.uint64), "tolerance": np.array(tolerance)}
    np.savez_compressed(file, **arrays, predict=predicted, sample=sampled)  # type: ignore[arg-type]
    return file.getvalue()


def replay(engine: Engine, content: bytes) -> float:
    """Run the golden inputs again and return the largest relative error.

    The inputs become the engine's examples. Raises InvalidModel for an error beyond the tolerance or a damaged file.
    """
    try:
        golden = read_npz(content, MAX_UNPACKED_BYTES)
    except ValueError as error:
        raise InvalidModel(f"{GOLDEN}: cannot be read: {error}", file=GOLDEN) from None
    try:
        named = [name for name in golden if name.startswith(INPUT_PREFIX)]
        given = {name.removeprefix(INPUT_PREFIX): golden[name] for name in named}
        inputs = check_inputs(given, engine.manifest, max_rows=sys.maxsize)
        expected = {name: golden[name].astype(np.float64) for name in ("predict", "sample")}
        tolerance = float(golden.get("tolerance", TOLERANCE))
        if not 0 < tolerance <= LARGEST_TOLERANCE:
            raise ValueError(f"expected a tolerance of at most {LARGEST_TOLERANCE:g}, found {tolerance:g}")
        sampling = Sampling(passes=len(expected["sample"]), seed=int(golden["seed"]))
        if sampling.passes < 1 or not 0 <= sampling.seed <= MAX_SEED:
            raise ValueError(f"invalid number of passes {sampling.passes} or seed {sampling.seed}")
        shape = (count_rows(inputs), *engine.manifest.output.shape)
        _check_shape("predict", expected["predict"], shape)
        _check_shape("sample", expected["sample"], (sampling.passes, *shape))
        answers = {"predict": _values(engine.predict(inputs)), "sample": engine.draw_all(inputs, sampling)}
    except (InvalidInput, KeyError, TypeError, ValueError) as error:
        raise InvalidModel(f"{GOLDEN}: does not fit the model: {error}", file=GOLDEN) from None
    engine.examples = inputs
    return max(_compare(name, answers[name], expected[name], tolerance) for name in expected)


def _values(prediction: Prediction) -> Array:
    """Return the graph's output (rows, outputs), with learned noise."""
    if prediction.noise_std is None:
        return prediction.values
    return np.concatenate([prediction.values, prediction.noise_std], axis=1)


def _check_shape(name: str, expected: Array, shape: tuple[int, ...]) -> None:
    """Raise InvalidModel for a wrong shape, before anything is computed."""
    if expected.shape != shape:
        raise InvalidModel(f"{GOLDEN}: {name}: the answer is {shape}, not {expected.shape}", file=GOLDEN)


def _compare(name: str, found: Array, expected: Array, tolerance: float) -> float:
    error = float(np.abs(found - expected).max() / max(1.0, float(np.abs(expected).max())))
    if not error <= tolerance:  # so that a NaN fails too
        raise InvalidModel(
            f"{GOLDEN}: {name}: the model's answers differ from those at publication:"
            f" relative error {error:.2g}, at most {tolerance:g} is allowed",
            file=GOLDEN,
        )
    return error
