"""The training loop: batches, loss, epochs, checkpoints, and several processes."""
