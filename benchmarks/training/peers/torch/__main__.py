"""A plain loop as experienced users of torch write it: DataLoader, AdamW, no loss read at each step."""

import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.training.networks import BATCH, LEARNING_RATE, WEIGHT_DECAY, Network, Rows
from benchmarks.training.protocol import Epoch, serve
from benchmarks.training.torch_network import build


def prepare(network: Network, rows: Rows, threads: int) -> Epoch:
    """Return an epoch. There are no workers: the rows are in memory, and processes to fetch them were slower."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = build(network).train()
    loader = DataLoader(TensorDataset(*map(torch.from_numpy, rows)), batch_size=BATCH, shuffle=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)

    def epoch() -> float:
        total = torch.zeros(())
        for inputs, targets in loader:
            loss = cross_entropy(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.detach()
        return total.item() / len(loader)

    return epoch


serve(prepare, "torch")
