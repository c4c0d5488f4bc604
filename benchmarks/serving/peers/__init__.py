"""The peers: a folder each, with requirements and a server at its best settings."""
