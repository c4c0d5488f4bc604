"""The repository of published models: find, mirror, watch, load and replace them."""
