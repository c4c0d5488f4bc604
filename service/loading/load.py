"""Load a model's folder as an engine, after verification."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from service.engine.engine import Engine
from service.engine.masks import MaskCache
from service.engine.network import MASK, Network
from service.errors import InvalidModel
from service.loading import golden
from service.loading.warmup import warm_up
from service.model.external_data import check_external_data
from service.model.manifest import (
    GOLDEN,
    MAX_MODEL_BYTES,
    PREDICT_GRAPH,
    SAMPLE_GRAPH,
    WEIGHTS,
    Manifest,
    read_file,
    read_manifest,
)
from service.model.runtime import Graph, TensorInfo
from service.model.weights import private_copy

PREPACKED_BYTES = 2**26
"""Weights up to this size are rearranged for faster products of many rows, in a copy for each graph; larger ones are
used where they are."""

Dimensions = tuple[int | None, ...]
Expected = dict[str, tuple[str, Dimensions]]


class Check(NamedTuple):
    """A passed step of verification, with its result in words."""

    name: str
    detail: str


def load_model(
    folder: Path,
    masks: MaskCache | None = None,
    *,
    threads: int = 1,
    max_bytes: int = MAX_MODEL_BYTES,
    checks: list[Check] | None = None,
) -> Engine:
    """Verify size, digests, graph contract and golden answers, in this order, and return the warm engine.

    Passed steps are appended to `checks`. Without a shared cache `masks`, the engine caches no masks. Raises
    InvalidModel with the reason of the first failed step.
    """
    passed = [] if checks is None else checks
    manifest = read_manifest(folder)
    passed.append(Check("manifest", _describe(manifest)))

    check_size(manifest, folder, max_bytes)
    files = {name: read_file(manifest, folder, name, max_bytes) for name in manifest.files if name != WEIGHTS}
    with private_copy(manifest, folder, max_bytes) as weights:
        passed.append(Check("digests", f"{len(manifest.files)} files agree with their SHA-256"))
        predict, sample = open_graphs(files[PREDICT_GRAPH], files[SAMPLE_GRAPH], weights, threads=threads)
    check_graphs(manifest, predict, sample)
    passed.append(Check("graphs", _describe_graphs(manifest)))

    engine = Engine(manifest, Network(predict, sample), masks or MaskCache(0))
    try:
        largest = golden.replay(engine, files[GOLDEN])
        engine.learned = warm_up(engine)
    except InvalidModel:
        raise
    except Exception as error:  # noqa: BLE001 - any error here is due to the model
        raise InvalidModel(f"{folder}: cannot run: {error}") from None
    passed.append(Check("golden answers", f"replayed; largest relative error {largest:.1e}"))
    return engine


def open_graphs(predict: bytes, sample: bytes, weights: Path | None, *, threads: int = 1) -> tuple[Graph, Graph]:
    """Load both graphs of a model, whose large weights are in the folder `weights`, if any are. Raises InvalidModel."""
    size = (weights / WEIGHTS).stat().st_size if weights else 0
    for content, name in ((predict, PREDICT_GRAPH), (sample, SAMPLE_GRAPH)):
        check_external_data(content, name, size)
    prepack = size <= PREPACKED_BYTES
    return (
        Graph(predict, name=PREDICT_GRAPH, weights=weights, threads=threads, prepack=prepack),
        Graph(sample, name=SAMPLE_GRAPH, weights=weights, threads=threads, prepack=prepack),
    )


def check_size(manifest: Manifest, folder: Path, max_bytes: int) -> None:
    """Raise InvalidModel for a model that is too large before any file is read; missing files fail later."""
    paths = [folder / name for name in manifest.files]
    size = sum(path.stat().st_size for path in paths if path.exists())
    if size > max_bytes:
        raise InvalidModel(f"{folder}: has {size} bytes; DROPSERVE_MAX_MODEL_BYTES allows {max_bytes}", limit=max_bytes)


def check_graphs(manifest: Manifest, predict: Graph, sample: Graph) -> None:
    """Raise InvalidModel unless both graphs have the manifest's inputs and outputs, and those that they share."""
    rows = {spec.name: (spec.dtype, (None, *spec.shape)) for spec in manifest.inputs}
    masks = {f"{MASK}{i}": ("float32", (None, 1, *site.shape)) for i, site in enumerate(manifest.sites)}
    shared = _check_shared(predict, sample)
    _check_inputs(predict, rows)
    read = rows.keys() & {tensor.name for tensor in sample.inputs} if shared else rows
    _check_inputs(sample, {name: rows[name] for name in read} | masks | shared)
    _check_output(predict, (None, *manifest.output.shape))
    if len(sample.outputs) != 1:
        raise InvalidModel(f"{sample.name}: has {len(sample.outputs)} outputs; expected one", file=sample.name)
    _check_output(sample, (None, None, *manifest.output.shape))


def _check_shared(predict: Graph, sample: Graph) -> Expected:
    """Return the tensors that predict.onnx returns for sample.onnx; raise InvalidModel unless they have rows first."""
    shared: Expected = {}
    for tensor in predict.outputs[1:]:
        first, *rest = tensor.shape or (0,)
        sizes = [size for size in rest if isinstance(size, int)]
        if isinstance(first, int) or len(sizes) < len(rest):
            message = f"{predict.name}: {tensor.name} is {list(tensor.shape)}; expected rows, and fixed dimensions"
            raise InvalidModel(message, file=predict.name)
        shared[tensor.name] = (tensor.dtype, (None, *sizes))
    if unread := sorted(set(shared) - {tensor.name for tensor in sample.inputs}):
        raise InvalidModel(f"{predict.name}: {sample.name} does not read its output {unread[0]!r}", file=predict.name)
    return shared


def _check_inputs(graph: Graph, expected: Mapping[str, tuple[str, Dimensions]]) -> None:
    given = {tensor.name: tensor for tensor in graph.inputs}
    if odd := sorted(set(given) ^ set(expected)):
        raise InvalidModel(
            f"{graph.name}: has inputs {sorted(given)}, the manifest says {sorted(expected)}: {odd[0]} is not in both",
            file=graph.name,
        )
    for name, (dtype, shape) in expected.items():
        _check_tensor(graph, given[name], dtype, shape)


def _check_output(graph: Graph, shape: Dimensions) -> None:
    _check_tensor(graph, graph.outputs[0], "float32", shape)


def _check_tensor(graph: Graph, tensor: TensorInfo, dtype: str, shape: Dimensions) -> None:
    """Check type and shape; dimensions that are None in `shape` must be free in the graph."""
    fits = len(tensor.shape) == len(shape) and all(
        not isinstance(found, int) if wanted is None else found == wanted
        for found, wanted in zip(tensor.shape, shape, strict=True)
    )
    if tensor.dtype != dtype or not fits:
        wanted_shape = ", ".join("any" if size is None else str(size) for size in shape)
        raise InvalidModel(
            f"{graph.name}: {tensor.name} is {tensor.dtype} {list(tensor.shape)}; expected {dtype} [{wanted_shape}]",
            file=graph.name,
        )


def _describe(manifest: Manifest) -> str:
    sites = ", ".join(f"{site.name} (p = {site.p:g}, {'×'.join(map(str, site.shape))})" for site in manifest.sites)
    categories = ", ".join(f"{feature} ({len(names)})" for feature, names in manifest.categories.items())
    also = f"; categories of {categories}" if categories else ""
    return f"{manifest.name}/{manifest.version}, {manifest.task}; dropout at {sites}{also}"


def _describe_graphs(manifest: Manifest) -> str:
    inputs = ", ".join(f"{spec.name} (rows, {', '.join(map(str, spec.shape))})" for spec in manifest.inputs)
    outputs = manifest.output.shape[0]
    return f"{inputs} → (rows, {outputs}), and with {len(manifest.sites)} masks → (passes, rows, {outputs})"
