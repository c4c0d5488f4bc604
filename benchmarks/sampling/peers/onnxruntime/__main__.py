"""onnxruntime on a graph in training mode, whose dropout the optimiser keeps; and the references.

`one pass` is the unit of the table. `layer products` are the multiply-adds of the sampled layers alone, as one matrix
product a layer over all passes, after one run of the part before the first dropout. `large product` gives the machine's
highest rate.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from benchmarks.sampling.protocol import Call, Rows, serve


def session(path: Path, threads: int, **options: Any) -> ort.InferenceSession:
    """Return a default session with so many threads."""
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    return ort.InferenceSession(path, settings, providers=["CPUExecutionProvider"], **options)


def prepare(folder: Path, threads: int) -> dict[str, Call]:
    """Return all variants of one network."""
    training = session(folder / "training.onnx", threads, disabled_optimizers=["EliminateDropout"])
    predict = session(folder / "predict.onnx", threads)
    before = session(folder / "before_dropout.onnx", threads)
    products = session(folder / "products.onnx", threads)
    large = session(folder / "large_product.onnx", threads)
    width = products.get_inputs()[0].shape[1]
    square = np.ones([large.get_inputs()[0].shape[1]] * 2, dtype=np.float32)
    folded: dict[int, Rows] = {}

    def loop(rows: Rows, passes: int) -> NDArray[Any]:
        return summarise(np.stack([run(training, rows) for _ in range(passes)]))

    def repeated(rows: Rows, passes: int) -> NDArray[Any]:
        logits = run(training, np.tile(rows, (passes, *[1] * (rows.ndim - 1))))
        return summarise(logits.reshape(passes, len(rows), -1))

    def one_pass(rows: Rows, passes: int) -> NDArray[Any]:  # noqa: ARG001 - there is one
        return softmax(run(predict, rows))

    def layer_products(rows: Rows, passes: int) -> NDArray[Any]:
        if (count := passes * len(rows)) not in folded:
            folded[count] = np.ones((count, width), dtype=np.float32)
        run(before, rows)
        return run(products, folded[count])

    def large_product(rows: Rows, passes: int) -> NDArray[Any]:  # noqa: ARG001 - the same for all
        return run(large, square)[:1, :1]

    return {
        "loop": loop,
        "repeated": repeated,
        "one pass": one_pass,
        "layer products": layer_products,
        "large product": large_product,
    }


def run(graph: ort.InferenceSession, rows: Rows) -> NDArray[Any]:
    """Return the only output for the only input."""
    return np.asarray(graph.run([graph.get_outputs()[0].name], {graph.get_inputs()[0].name: rows})[0])


def summarise(logits: NDArray[Any]) -> NDArray[Any]:
    """Return the mean of logits (passes, rows, classes), after the rest of the summary that all contenders compute."""
    probabilities = softmax(logits)
    mean = np.asarray(probabilities.mean(axis=0))
    probabilities.std(axis=0)
    entropy(mean)
    entropy(probabilities).mean(axis=0)
    return mean


def softmax(logits: NDArray[Any]) -> NDArray[Any]:
    """Return the softmax over the last axis."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))


def entropy(probabilities: NDArray[Any]) -> NDArray[Any]:
    """Return the entropy over the last axis, in nats."""
    tiny = np.finfo(probabilities.dtype).tiny
    return np.asarray(-(probabilities * np.log(np.maximum(probabilities, tiny))).sum(axis=-1))


serve(prepare, "onnxruntime", "numpy")
