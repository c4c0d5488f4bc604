"""Export a network with dropout as two graphs, and verify that they compute what it does."""
