"""Dropserve's training loop; see __main__."""
