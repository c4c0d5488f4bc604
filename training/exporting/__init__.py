"""A network with dropout becomes two graphs, which are proved to do what it does."""
