"""Load damaged and hostile ONNX files as the service does, each in a forked process with bounded memory and time.

Their digests are right: they are what a malicious publisher could write, not what a damaged disk holds.
"""

import json
import os
import random
import resource
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from service import load_model
from service.engine.masks import MaskCache
from service.errors import InvalidModel
from service.model.manifest import MANIFEST, PREDICT_GRAPH, SAMPLE_GRAPH, sha256
from tests.toy import ToyNet
from tools.abuse.mutations import mutate

MEMORY = 4 * 2**30
"""Bytes beyond those of the forked process, which may be large."""
SECONDS = 30
"""Seconds for one file."""
OUTCOMES = ("loaded", "refused", "odd")
"""Outcomes by the exit code of the process."""

OPERATORS = (
    *("Add", "Mul", "MatMul", "Gemm", "Relu", "Softmax", "Reshape", "Expand", "Tile", "Gather", "Scatter", "Slice"),
    *("Concat", "Split", "Transpose", "Conv", "ConvTranspose", "MaxPool", "Resize", "Pad", "TopK", "OneHot", "Range"),
    *("ConstantOfShape", "Loop", "If", "Scan", "Einsum", "LSTM", "GRU", "NonMaxSuppression", "RoiAlign", "Compress"),
    *("Unsqueeze", "Squeeze", "Cast", "Identity", "Shape", "Size", "Where", "QuantizeLinear", "DequantizeLinear"),
    *("StringNormalizer", "SequenceAt", "SequenceConstruct", "SplitToSequence", "GatherND", "ScatterND", "CumSum"),
    *("DepthToSpace", "SpaceToDepth", "GridSample", "RandomNormal", "Multinomial", "Dropout", "BatchNormalization"),
    *("DFT", "Optional", "Bernoulli", "Attention", "RegexFullMatch"),
)
SIZES = (0, 1, -1, 2, 2**31, 2**31 - 1, -(2**31), 2**40, 2**62, 2**63 - 1, -(2**63))


def mutant(content: bytes, rng: random.Random) -> bytes:
    """Return damaged bytes, or another graph that is still an ONNX file."""
    if rng.random() < 0.4:
        return mutate(content, rng)
    model = onnx.ModelProto.FromString(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        rng.choice(CHANGES)(model, rng)
    try:
        return bytes(model.SerializeToString())
    except (DecodeError, ValueError):
        return mutate(content, rng)


def _operator(model: onnx.ModelProto, rng: random.Random) -> None:
    rng.choice(model.graph.node).op_type = rng.choice(OPERATORS)


def _wire(model: onnx.ModelProto, rng: random.Random) -> None:
    """Change inputs or outputs, also to cycles and unknown names."""
    node = rng.choice(model.graph.node)
    names = [*(name for other in model.graph.node for name in other.output), "input", "w0", "nothing", ""]
    side = rng.choice((node.input, node.output))
    if side and rng.random() < 0.7:
        side[rng.randrange(len(side))] = rng.choice(names)
    else:
        side.append(rng.choice(names))


def _attribute(model: onnx.ModelProto, rng: random.Random) -> None:
    name = rng.choice(("axis", "axes", "to", "kernel_shape", "strides", "pads", "group", "perm", "value", "shape"))
    value: object = rng.choice(SIZES) if rng.random() < 0.5 else [rng.choice(SIZES) for _ in range(rng.randrange(1, 4))]
    rng.choice(model.graph.node).attribute.append(onnx.helper.make_attribute(name, value))


def _weight(model: onnx.ModelProto, rng: random.Random) -> None:
    """State another shape or type than the bytes have."""
    tensor = rng.choice(model.graph.initializer)
    if rng.random() < 0.5 and tensor.dims:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(SIZES)
    elif rng.random() < 0.5:
        tensor.dims.append(rng.choice(SIZES))
    else:
        tensor.data_type = rng.randrange(24)


def _shape(model: onnx.ModelProto, rng: random.Random) -> None:
    """Change the shape or type of an input or output."""
    value = rng.choice([*model.graph.input, *model.graph.output])
    if value.type.tensor_type.shape.dim:
        rng.choice(value.type.tensor_type.shape.dim).dim_value = rng.choice(SIZES)
    if rng.random() < 0.3:
        value.type.tensor_type.elem_type = rng.randrange(24)


def _node(model: onnx.ModelProto, rng: random.Random) -> None:
    """Insert a node anywhere."""
    names = [*(tensor.name for tensor in model.graph.initializer), *model.graph.node[0].output, "input"]
    inputs = [rng.choice(names) for _ in range(rng.randrange(5))]
    output = rng.choice((model.graph.node[-1].output[0] if model.graph.node[-1].output else "output", "new"))
    made = onnx.helper.make_node(rng.choice(OPERATORS), inputs, [output])
    model.graph.node.insert(rng.randrange(len(model.graph.node) + 1), made)


def _version(model: onnx.ModelProto, rng: random.Random) -> None:
    model.opset_import[0].version = rng.choice((1, 6, 13, 22, 23, 99, 2**31))
    model.ir_version = rng.choice((0, 3, 8, 10, 12, 99))


def _nested(model: onnx.ModelProto, rng: random.Random) -> None:
    """Nest the graph in branches of itself, several times."""
    for _ in range(rng.choice((1, 5, 50))):
        inner = onnx.GraphProto()
        inner.CopyFrom(model.graph)
        del model.graph.node[:]
        branch = onnx.helper.make_node("If", ["input"], ["output"], then_branch=inner, else_branch=inner)
        model.graph.node.append(branch)
        if model.ByteSize() > 2**20:
            return


TOY = ToyNet()
GRAPHS = {PREDICT_GRAPH: TOY.graph(masked=False), SAMPLE_GRAPH: TOY.graph(masked=True)}
CHANGES: tuple[Callable[[onnx.ModelProto, random.Random], None], ...] = (
    *(_operator, _wire, _attribute, _weight, _shape, _node, _node, _version, _nested),
)


def load_mutants(count: int, seed: int = 0) -> tuple[Counter[str], list[str]]:
    """Return the number of files by outcome, and the faults: unexpected errors and processes ended by a signal."""
    outcomes: Counter[str] = Counter()
    faults: list[str] = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        folder = TOY.publish(Path(name))
        for number in range(count):
            outcome = _in_a_process(folder, number, seed)
            outcomes[outcome] += 1
            if outcome not in OUTCOMES[:2]:
                faults.append(f"mutant {number} of seed {seed}: {outcome}")
    return outcomes, faults


def _in_a_process(folder: Path, number: int, seed: int) -> str:
    """Return the outcome of one file, or the signal that ended its process."""
    child = os.fork()
    if child == 0:
        _bound()
        os._exit(OUTCOMES.index(load_mutant(folder, number, seed)))
    status = os.waitpid(child, 0)[1]
    if status & 127:
        return signal.Signals(status & 127).name
    code = status >> 8
    return OUTCOMES[code] if code < len(OUTCOMES) else f"exit {code}"


def _bound() -> None:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    bound = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    signal.alarm(SECONDS)


def load_mutant(folder: Path, number: int, seed: int) -> str:
    """Load the model with one graph replaced by the mutant of this number, with the right digest."""
    rng = random.Random(f"{seed} {number}")
    name = rng.choice(list(GRAPHS))
    content = mutant(GRAPHS[name], rng)
    with tempfile.TemporaryDirectory() as models:
        copy = Path(models) / "toy" / "1"
        shutil.copytree(folder, copy)
        (copy / name).write_bytes(content)
        manifest = json.loads((copy / MANIFEST).read_text())
        manifest["files"][name] = sha256(content)
        (copy / MANIFEST).write_text(json.dumps(manifest))
        try:
            load_model(copy, MaskCache(0))
        except InvalidModel:
            return "refused"
        except Exception:  # noqa: BLE001 - reported by the exit code
            return "odd"
    return "loaded"
