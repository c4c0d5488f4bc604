"""Schedule work: batches of one turn of the event loop, and a queue of longer work."""
