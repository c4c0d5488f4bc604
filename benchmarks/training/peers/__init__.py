"""The contenders: a folder each, run in an environment of its own."""
