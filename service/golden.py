"""Golden answers: what the publisher's machine answered, replayed wherever the model is loaded."""

import io
import zipfile

import numpy as np

from service.engine import Engine, Inputs
from service.errors import InvalidInput, InvalidModel
from service.inputs import check_inputs
from service.manifest import GOLDEN
from service.runtime import Array
from service.sampling import Sampling

TOLERANCE = 1e-4
"""How far an answer may lie from the publisher's, relative to the largest; other processors sum in
another order, which costs about 1e-6, and a changed weight costs more than this."""

INPUT_PREFIX = "input."


def record(engine: Engine, inputs: Inputs, passes: int, seed: int) -> bytes:
    """The content of `golden.npz`: these inputs, a seed, and the model's answers to them."""
    file = io.BytesIO()
    arrays = {INPUT_PREFIX + name: array for name, array in inputs.items()}
    predicted = engine.predict(inputs).values  # (rows, outputs)
    sampled = engine.draw_all(inputs, Sampling(passes, seed))  # (passes, rows, outputs)
    np.savez_compressed(file, **arrays, seed=np.uint64(seed), predict=predicted, sample=sampled)  # type: ignore[arg-type]
    return file.getvalue()


def replay(engine: Engine, content: bytes) -> float:
    """Ask the model the golden inputs again; the largest relative error, or InvalidModel if it is too large.

    The inputs become the engine's examples.
    """
    golden = _read(content)
    given = {name.removeprefix(INPUT_PREFIX): array for name, array in golden.items() if name.startswith(INPUT_PREFIX)}
    try:
        inputs = check_inputs(given, engine.manifest, max_rows=max(map(len, given.values()), default=0))
        expected_predict, expected_sample = golden["predict"], golden["sample"]
        passes, seed = len(expected_sample), int(golden["seed"])
    except (InvalidInput, KeyError, TypeError, ValueError) as error:
        raise InvalidModel(f"{GOLDEN}: does not fit the model: {error}", file=GOLDEN) from None
    engine.examples = inputs
    return max(
        _compare("predict", engine.predict(inputs).values, expected_predict),
        _compare("sample", engine.draw_all(inputs, Sampling(passes, seed)), expected_sample),
    )


def _read(content: bytes) -> dict[str, Array]:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidModel(f"{GOLDEN}: cannot be read: {error}", file=GOLDEN) from None


def _compare(name: str, found: Array, expected: Array) -> float:
    if found.shape != expected.shape:
        raise InvalidModel(f"{GOLDEN}: {name}: the answer is {found.shape}, not {expected.shape}", file=GOLDEN)
    error = float(np.abs(found - expected).max() / max(1.0, float(np.abs(expected).max())))
    if not error <= TOLERANCE:  # so that a NaN fails too
        raise InvalidModel(
            f"{GOLDEN}: {name}: the model answers otherwise than when it was published:"
            f" relative error {error:.2g}, at most {TOLERANCE:g} is allowed",
            file=GOLDEN,
        )
    return error
