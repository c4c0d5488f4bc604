"""torch-uncertainty's wrapper for MC dropout, in both of its modes."""

from pathlib import Path

import torch
from torch_uncertainty.methods import mc_dropout

from benchmarks.sampling.protocol import Call, Rows, serve
from benchmarks.sampling.torch_network import load, summarise


def prepare(folder: Path, threads: int) -> dict[str, Call]:
    """Return the calls; each number of passes is wrapped once."""
    torch.set_num_threads(threads)
    wrapped = {}

    def wrap(on_batch: bool) -> Call:
        @torch.inference_mode()
        def call(rows: Rows, passes: int) -> torch.Tensor:
            if (on_batch, passes) not in wrapped:
                wrapped[on_batch, passes] = mc_dropout(load(folder), passes, on_batch=on_batch).eval()
            logits = wrapped[on_batch, passes](torch.from_numpy(rows))  # (passes * rows, classes)
            return summarise(logits.unflatten(0, (passes, -1))).mean

        return call

    return {"loop": wrap(on_batch=False), "batch": wrap(on_batch=True)}


serve(prepare, "torch-uncertainty", "torch", "torchvision")
