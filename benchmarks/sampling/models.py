"""Write the same weights for all contenders: a folder for each network, in the format of each."""

import logging
import shutil
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from benchmarks.sampling.networks import LARGE, NETWORKS, first_dropout, sampled_sizes
from benchmarks.sampling.torch_network import build, dropout_on, load
from training import publish_module
from training.exporting.cost import measure_work

logging.getLogger("torch.onnx").setLevel(logging.ERROR)

LOGITS_STD = 4.0
"""The spread of logits, so that probabilities differ as in trained networks, and sampling affects them."""


def write(folder: Path, rows: int) -> None:
    """Make the network that the folder is named after, with random weights, and `rows` rows of inputs.

    published/        by Dropserve's own exporter, predict.onnx and sample.onnx
    weights.npz       with torch's names
    training.onnx     with its dropout
    before_dropout.onnx, products.onnx, large_product.onnx: only the multiplications
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    network, inputs = build(NETWORKS[folder.name]), torch.randn(rows, *NETWORKS[folder.name].inputs)
    _scale_output(network, inputs)
    np.save(folder / "inputs.npy", inputs.numpy())
    np.savez(folder / "weights.npz", **{name: tensor.numpy() for name, tensor in network.state_dict().items()})
    labels = [str(label) for label in range(sampled_sizes(NETWORKS[folder.name])[-1][1])]
    published, _ = publish_module(network, (inputs,), name=folder.name, models=folder / "published", labels=labels)
    for name in ("predict.onnx", "weights.bin"):
        shutil.copy(published / name, folder)
    _export(dropout_on(load(folder)), inputs, folder / "training.onnx")
    _export(network[: first_dropout(NETWORKS[folder.name])], inputs, folder / "before_dropout.onnx")
    write_products(folder / "products.onnx", sampled_sizes(NETWORKS[folder.name]))
    write_products(folder / "large_product.onnx", [(LARGE, LARGE)])


def multiply_adds(folder: Path, rows: int, passes: int) -> int:
    """Return the multiply-adds of a case: once up to the first dropout, from there on once a pass."""
    once = measure_work(onnx.load(folder / "before_dropout.onnx")).multiply_adds
    a_pass = sum(inputs * units for inputs, units in sampled_sizes(NETWORKS[folder.name]))
    return rows * (once + passes * a_pass)


def write_products(path: Path, sizes: list[tuple[int, int]]) -> None:
    """Write a product with each matrix in turn: (any, inputs of the first) → (any, units of the last)."""
    rng = np.random.default_rng(0)
    weights = [numpy_helper.from_array(rng.normal(size=size).astype("f4"), f"w{i}") for i, size in enumerate(sizes)]
    nodes = [helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"x{i + 1}"]) for i in range(len(sizes))]
    first = helper.make_tensor_value_info("x0", TensorProto.FLOAT, ["rows", sizes[0][0]])
    last = helper.make_tensor_value_info(f"x{len(sizes)}", TensorProto.FLOAT, ["rows", sizes[-1][1]])
    graph = helper.make_graph(nodes, path.stem, [first], [last], weights)
    opset = helper.make_opsetid("", 18)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), path)


@torch.no_grad()
def _scale_output(network: nn.Sequential, inputs: Tensor) -> None:
    scale = LOGITS_STD / network(inputs).std()
    for parameter in network[-1].parameters():
        parameter.mul_(scale)


def _export(network: nn.Module, inputs: Tensor, path: Path) -> None:
    shapes = ({0: torch.export.Dim.DYNAMIC},)
    with warnings.catch_warnings(action="ignore"):  # about the training mode, which is intended
        program = torch.onnx.export(
            network, (inputs,), dynamo=True, dynamic_shapes=shapes, verbose=False, optimize=False
        )
    assert program is not None
    program.save(path)
