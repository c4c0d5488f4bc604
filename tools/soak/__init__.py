"""The service under faults and load: `python -m tools.soak`."""
