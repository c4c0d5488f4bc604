"""Who trains: a folder each, which is run in an environment of its own."""
