"""Export a torch network with dropout to predict.onnx and sample.onnx, both from one export with the same weights."""

import logging
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir
import torch
from onnx import ModelProto
from torch import Tensor, nn

from service.model.manifest import TensorSpec
from service.model.runtime import Array
from training.errors import CannotExport
from training.exporting.decompositions import DECOMPOSITIONS
from training.exporting.ending import NOTHING, to_logits
from training.exporting.exported import DropoutGraph, Exported
from training.exporting.graphs import flattened
from training.exporting.inject import BERNOULLI, OWN_GENERATOR, Draw, random_draws, sampling_copy
from training.exporting.refusals import add_refusals
from training.exporting.sites import RANDOM, Site
from training.exporting.surgery import find_sites
from training.exporting.weights import Weights

DTYPES = {torch.float32: "float32", torch.float64: "float64", torch.int32: "int32", torch.int64: "int64"}
"""Types of inputs that can be served."""
KNOWN_WARNINGS = (
    (r"The tensor attributes? self\..*_flat_weights", UserWarning),
    ("Exporting a model while it is in training mode", UserWarning),
    (r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning),
)
"""Warnings of torch during an export that need no action."""
EVALUATIONS = 3
"""Passes in evaluation mode that must agree."""
TORCH = str(Path(torch.__file__).parent)
ABOUT_TORCH = "The error above occurred"
"""The beginning of the line that torch adds to an error."""
MEANINGS = {
    "data-dependent": "it branches on values of its input, which a graph cannot",
    "Constraints violated": "it has a loop over the rows, or a fixed number of rows",
    ".numpy()": "it computes outside torch",
}
"""Explanations of torch's errors, by a text in them."""
CHATTER = ("torch.onnx._internal.exporter._registration", "onnxscript", "onnx_ir")
"""Loggers that are silent during an export."""


def export(
    module: nn.Module,
    example: tuple[Tensor, ...],
    *,
    input_names: Sequence[str] = ("input",),
    output_name: str = "output",
    classification: bool = False,
    sample_sites: Sequence[str] = (),
) -> Exported:
    """Export a network that maps inputs (rows, …) to one output (rows, outputs).

    `example` is one tensor for each input, of one row or more. The module itself is not changed. The graphs of a
    classification answer with logits, whether the network ends in a softmax or not. `sample_sites` selects the dropout
    that stays on in samples, by default all: names, globs, or `last:N`. Raises ConfigError for a selection of nothing,
    CannotExport for a network that has no dropout, draws random numbers for another purpose, or cannot be expressed in
    ONNX or with masks.
    """
    graph = dropout_graph(
        module, example, input_names=input_names, output_name=output_name, classification=classification
    )
    return graph.exported(sample_sites)


def dropout_graph(
    module: nn.Module,
    example: tuple[Tensor, ...],
    *,
    input_names: Sequence[str] = ("input",),
    output_name: str = "output",
    classification: bool = False,
) -> DropoutGraph:
    """Return the network's graph with its dropout; arguments and errors are those of `export`."""
    check_module(module)
    example = example_rows(example, 3)  # with one row torch would export the number of rows as a constant
    if len(set(input_names)) != len(example):
        found = ", ".join(map(repr, input_names))
        raise CannotExport(f"input_names: expected {len(example)}, one for each tensor of the example; found {found}")
    network = sampling_copy(module)
    output = _output(network, example, output_name)
    _refuse_certain_dropout(network)
    draws = _dropout_draws(network, example)
    answers = _evaluated(module, example)
    graph, weights = flattened(_to_onnx(network, example, input_names, output_name)), Weights()
    weights.take_from(graph)
    inputs = add_refusals(graph, [_spec(name, tensor) for name, tensor in zip(input_names, example, strict=True)])
    sites = find_sites(graph)
    _compare(sites, draws)
    ending = to_logits(graph, answers) if classification else NOTHING
    return DropoutGraph(graph, sites, inputs, output, ending, weights)


def training_graph(
    module: nn.Module, example: tuple[Tensor, ...], *, input_names: Sequence[str] = ("input",)
) -> ModelProto:
    """Return the network as other exporters export it in training mode: with active dropout operators."""
    return _to_onnx(sampling_copy(module), example_rows(example, 3), input_names, "output")


def as_tensors(example: object, module: nn.Module) -> tuple[Tensor, ...]:
    """Return one tensor an input, of tensors or arrays in a tuple or of a lone one.

    Floating point arrays get the type of the network's weights. Raises CannotExport for any other value.
    """
    real = next((weights.dtype for weights in module.parameters() if weights.is_floating_point()), torch.float32)
    return tuple(_as_tensor(one, real) for one in (example if isinstance(example, tuple) else (example,)))


def _as_tensor(rows: object, real: torch.dtype) -> Tensor:
    if isinstance(rows, Tensor):
        return rows
    if not isinstance(rows, np.ndarray):
        found = type(rows).__name__
        raise CannotExport(f"example: expected a tensor or array, or a tuple of one for each input; found a {found}")
    try:
        tensor = torch.tensor(rows)
    except TypeError:
        raise CannotExport(f"example: expected an array of numbers; found {rows.dtype}") from None
    return tensor.to(real) if tensor.is_floating_point() else tensor


def example_rows(example: tuple[Tensor, ...], rows: int) -> tuple[Tensor, ...]:
    """Return `rows` rows, the example's repeated; raise CannotExport if its inputs differ in length."""
    if not isinstance(example, tuple) or not all(isinstance(tensor, Tensor) for tensor in example):
        found = type(example).__name__
        raise CannotExport(f"example: expected a tuple with a tensor for each input, such as (rows,); found a {found}")
    counts = {len(tensor) if tensor.ndim else 0 for tensor in example}
    if len(counts) != 1 or 0 in counts:
        raise CannotExport("example: every input must have the same number of rows, at least one")
    index = torch.arange(rows) % counts.pop()
    return tuple(tensor.detach().cpu()[index] for tensor in example)


def check_module(module: object) -> None:
    """Raise CannotExport for a value that is not a module of torch that can be run, copied and inspected."""
    if not isinstance(module, nn.Module):
        found = f"the class {module.__name__} itself" if isinstance(module, type) else type(module).__name__
        raise CannotExport(f"module: expected a torch.nn.Module; found {found}")
    if any(isinstance(part, torch.jit.ScriptModule) for part in module.modules()):
        raise CannotExport("module: is compiled by torch.jit, which hides its dropout; use the original module")
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if nn.parameter.is_lazy(tensor) or tensor.is_meta:
            raise CannotExport(f"module: its {name} has no values yet; run it once, or load its weights")


def _refuse_certain_dropout(network: nn.Module) -> None:
    """Raise CannotExport for p = 1, for which torch draws nothing, as if there were no dropout."""
    for name, part in network.named_modules():
        if isinstance(part, nn.modules.dropout._DropoutNd) and part.p == 1:
            raise CannotExport(f"{name}: its p is 1, which drops everything; it must be at least 0 and below 1")


def _dropout_draws(network: nn.Module, example: tuple[Tensor, ...]) -> tuple[Draw, ...]:
    draws = random_draws(network, example)
    for draw in draws:
        if draw.operator != BERNOULLI:
            what = "cannot be exported" if draw.operator.endswith(OWN_GENERATOR) else "is not dropout"
            raise CannotExport(
                f"the network draws random numbers with {draw.operator}, which {what}{_in_modules([draw])}"
            )
    if not draws:
        reason = "the network has no active dropout (0 < p < 1), so there is nothing to sample"
        raise CannotExport(reason + _why_idle(network))
    return draws


def _why_idle(network: nn.Module) -> str:
    if any(type(part).__module__.partition(".")[0] == "keras" for part in network.modules()):
        return "; Keras drops only where it is called with training=True: wrap it as docs/import.md does"
    idle = [name or "it" for name, part in network.named_modules() if "dropout" in type(part).__name__.lower()]
    return f"; {', '.join(idle)} draw nothing: they are not called, have p = 0, or do not train" if idle else ""


def _in_modules(draws: Sequence[Draw]) -> str:
    names = dict.fromkeys(draw.module for draw in draws if draw.module)
    return f" (in {', '.join(names)})" if names else ""


def _evaluated(module: nn.Module, example: tuple[Tensor, ...]) -> Array:
    """Return the outputs (rows, outputs) without dropout; raise CannotExport where they differ from pass to pass."""
    network = sampling_copy(module).eval()
    outputs = []
    for seed in range(EVALUATIONS):
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            outputs.append(network(*example).numpy().copy())
    if all(np.array_equal(outputs[0], other, equal_nan=True) for other in outputs):
        _check_finite(module, outputs[0])
        return np.asarray(outputs[0])
    draws = random_draws(network, example)
    if drops := [draw for draw in draws if draw.operator == BERNOULLI]:
        raise CannotExport(
            f"the network drops units in evaluation mode too{_in_modules(drops)}, so that it has no deterministic"
            " answer; functional dropout needs training=self.training to be turned off"
        )
    how = (
        f"it draws random numbers with {draws[0].operator}{_in_modules(draws[:1])}"
        if draws
        else "it draws none of torch's random numbers, but may use NumPy's or Python's, or keep a state"
    )
    raise CannotExport(f"the network has no deterministic answer, as passes in evaluation mode differ: {how}")


def _check_finite(module: nn.Module, outputs: Array) -> None:
    if np.isfinite(outputs).all():
        return
    wrong = [name for name, tensor in module.state_dict().items() if not torch.isfinite(tensor).all()]
    because = f"; its {wrong[0]} has such numbers, too" if wrong else ""
    raise CannotExport(f"the network's outputs for the example have numbers that are not finite{because}")


def _output(network: nn.Module, example: tuple[Tensor, ...], name: str) -> TensorSpec:
    shapes = ", ".join(str(tuple(tensor.shape)) for tensor in example)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            output = network(*example)
    except Exception as error:  # whatever the network's own code may raise
        reason = f"the network cannot be run on {len(example[0])} rows of the example, inputs of {shapes}"
        raise CannotExport(f"{reason}: {_reason(error)}{_place(error)}{_advice(example)}") from error
    if not isinstance(output, Tensor):
        raise CannotExport(f"the network must return one tensor; it returns a {type(output).__name__}")
    if output.ndim != 2 or len(output) != len(example[0]) or not output.numel():
        shape = f"{tuple(output.shape)} for inputs of {shapes}"
        raise CannotExport(f"the network's output must be of shape (rows, outputs); it is {shape}{_advice(example)}")
    if output.dtype != torch.float32:
        raise CannotExport(f"the network's output must be torch.float32, which is served; it is {output.dtype}")
    return _spec(name, output)


def _advice(example: tuple[Tensor, ...]) -> str:
    flat = any(tensor.ndim == 1 for tensor in example)
    return "; the example's first axis is that of its rows: pass a single row x as x[None]" if flat else ""


def _spec(name: str, tensor: Tensor) -> TensorSpec:
    if tensor.dtype not in DTYPES:
        raise CannotExport(f"{name}: {tensor.dtype} is not supported; it must be one of {', '.join(DTYPES.values())}")
    return TensorSpec.model_validate({"name": name, "dtype": DTYPES[tensor.dtype], "shape": tensor.shape[1:]})


def _to_onnx(
    network: nn.Module, example: tuple[Tensor, ...], input_names: Sequence[str], output_name: str
) -> ModelProto:
    """Return the graph with its dropout."""
    rows: Any = torch.export.ShapesCollection()  # type: ignore[no-untyped-call]
    for tensor in example:
        rows[tensor] = {0: torch.export.Dim.DYNAMIC}
    try:
        with _quiet():
            program = torch.export.export(network, example, dynamic_shapes=rows, strict=False)
            program = program.run_decompositions(DECOMPOSITIONS)
            _refuse_changing_state(program)
            exported = torch.onnx.export(
                program,
                dynamo=True,
                input_names=list(input_names),
                output_names=[output_name],
                verbose=False,
                optimize=False,
            )
            assert exported is not None
            _number_random_nodes(exported)
            exported.optimize()
    except CannotExport:
        raise
    except Exception as error:  # torch raises many unrelated types, with its whole trace
        raise CannotExport(f"torch cannot export the network: {_reason(error)}") from error
    return exported.model_proto


def _number_random_nodes(program: torch.onnx.ONNXProgram) -> None:
    """Number the random nodes, or the optimiser merges two draws on the same data."""
    for number, node in enumerate(program.model.graph):
        if node.op_type == "Dropout":
            node.attributes.add(onnx_ir.AttrInt64("seed", number))
        elif node.op_type in RANDOM:
            node.attributes.add(onnx_ir.AttrFloat32("seed", float(number)))


def _reason(error: BaseException) -> str:
    """Return the type and first line of the first cause, with an explanation where one is known."""
    while error.__cause__:
        error = error.__cause__
    lines = (line.strip() for line in str(error).splitlines())
    first = next((line for line in lines if line and not line.startswith(ABOUT_TORCH)), "")
    meaning = next((f" ({meaning})" for sign, meaning in MEANINGS.items() if sign in first), "")
    return f"{type(error).__name__}{first and f': {first}'}{meaning}"


def _place(error: BaseException) -> str:
    """Return the last line of the user's own code that led to an error."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames[1:] if not frame.filename.startswith((TORCH, "<"))]
    return f", in {Path(own[-1].filename).name}, line {own[-1].lineno}" if own else ""


def _refuse_changing_state(program: torch.export.ExportedProgram) -> None:
    changed = sorted(program.graph_signature.buffers_to_mutate.values())
    if changed:
        raise CannotExport(f"the network changes its buffer {changed[0]!r} in each pass in training mode")


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence torch's own logging, and warnings of the intended training mode."""
    levels = {logger: logger.level for logger in map(logging.getLogger, CHATTER)}
    for logger in levels:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for message, category in KNOWN_WARNINGS:
                warnings.filterwarnings("ignore", message, category)
            yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


def _compare(sites: Sequence[Site], draws: Sequence[Draw]) -> None:
    """Raise CannotExport where the graph's dropout differs from torch's draws, so that some got lost."""
    if len(sites) != len(draws):
        found = f"{len(draws)} times, and the exported graph has {len(sites)} dropout sites"
        raise CannotExport(
            f"the network draws dropout noise {found}{_lost(sites, draws)}: the rest does not reach the output, drops"
            " from weights, has a p below 5e-8, or got lost in torch's exporter"
        )
    for site, draw in zip(sites, draws, strict=True):
        if abs(1 - draw.keep - site.p) > 1e-6:
            raise CannotExport(f"{site.name}: p is {1 - draw.keep:.6f} in the network and {site.p} in the graph")


def _lost(sites: Sequence[Site], draws: Sequence[Draw]) -> str:
    """Name the modules whose draws have no site."""
    lost = Counter(draw.module for draw in draws if draw.module)
    lost.subtract(site.name.partition(":")[0] for site in sites)
    names = [f"{name} ({count})" for name, count in lost.items() if count > 0]
    return f"; lost: {', '.join(names)}" if names else ""
