"""Baal: passes as rows of one batch, and a loop with cached outputs of layers with the same input.

The cache persists between calls, so that Baal skips the part before the first dropout altogether.
"""

from pathlib import Path

import torch
from baal.bayesian.caching_utils import MCCachingModule
from baal.bayesian.dropout import MCDropoutModule
from baal.modelwrapper import ModelWrapper, TrainingArgs

from benchmarks.sampling.protocol import Call, Rows, serve
from benchmarks.sampling.torch_network import load, summarise


def prepare(folder: Path, threads: int) -> dict[str, Call]:
    """Return Baal's wrappers, as in its documentation."""
    torch.set_num_threads(threads)
    replicated = MCDropoutModule(load(folder)).eval()
    caching = MCCachingModule(MCDropoutModule(load(folder)).eval()).eval()
    return {"replicate": wrap(replicated, replicate=True), "caching": wrap(caching, replicate=False)}


def wrap(network: torch.nn.Module, *, replicate: bool) -> Call:
    """Return a call of the wrapped network."""
    wrapper = ModelWrapper(network, TrainingArgs(use_cuda=False, replicate_in_memory=replicate))

    def call(rows: Rows, passes: int) -> torch.Tensor:
        logits = wrapper.predict_on_batch(torch.from_numpy(rows), passes)  # (rows, classes, passes)
        return summarise(logits.permute(2, 0, 1)).mean

    return call


serve(prepare, "baal", "torch")
