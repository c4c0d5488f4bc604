"""torch by itself: a loop of passes, and all passes as rows of one batch."""

from pathlib import Path

import torch

from benchmarks.sampling.protocol import Call, Rows, serve
from benchmarks.sampling.torch_network import dropout_on, load, summarise


def prepare(folder: Path, threads: int) -> dict[str, Call]:
    """Return the calls, in evaluation mode except for dropout."""
    torch.set_num_threads(threads)
    network = dropout_on(load(folder))

    @torch.inference_mode()
    def loop(rows: Rows, passes: int) -> torch.Tensor:
        inputs = torch.from_numpy(rows)
        return summarise(torch.stack([network(inputs) for _ in range(passes)])).mean

    @torch.inference_mode()
    def repeated(rows: Rows, passes: int) -> torch.Tensor:
        inputs = torch.from_numpy(rows)
        logits = network(inputs.repeat(passes, *[1] * (inputs.ndim - 1)))  # (passes * rows, classes)
        return summarise(logits.unflatten(0, (passes, -1))).mean

    return {"loop": loop, "repeated": repeated}


serve(prepare, "torch")
