"""Lightning's Trainer, with everything but training turned off."""

import logging
import warnings
from typing import Any

import lightning
import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.training.networks import BATCH, LEARNING_RATE, WEIGHT_DECAY, Network, Rows
from benchmarks.training.protocol import Epoch, serve
from benchmarks.training.torch_network import build

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Module(lightning.LightningModule):  # type: ignore[misc]
    """The network, its loss, and one optimiser for all epochs."""

    def __init__(self, network: Network) -> None:
        """Build the network."""
        super().__init__()
        self.model = build(network)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        self.total = torch.zeros(())

    def training_step(self, batch: Any, _: int) -> torch.Tensor:
        """Return a batch's loss."""
        inputs, targets = batch
        loss = cross_entropy(self.model(inputs), targets)
        self.total += loss.detach()
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the same optimiser at each fit."""
        return self.optimizer


def prepare(network: Network, rows: Rows, threads: int) -> Epoch:
    """Return an epoch; each fit of the Trainer continues the one before."""
    torch.set_num_threads(threads)
    lightning.seed_everything(0, verbose=False)
    module = Module(network)
    loader = DataLoader(TensorDataset(*map(torch.from_numpy, rows)), batch_size=BATCH, shuffle=True)
    off = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(max_epochs=0, accelerator="cpu", **off)
    trainer.fit(module, loader)

    def epoch() -> float:
        module.total.zero_()
        trainer.fit_loop.max_epochs = (trainer.fit_loop.max_epochs or 0) + 1
        trainer.fit(module, loader)
        return module.total.item() / len(loader)

    return epoch


serve(prepare, "lightning", "torch")
