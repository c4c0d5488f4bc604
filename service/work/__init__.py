"""When work is done: batches of a turn, and a queue of what takes longer."""
