"""The peers: a folder each, with what it needs and a server at its best settings."""
