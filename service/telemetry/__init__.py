"""What is told of the work done: metrics, traces, logs."""
