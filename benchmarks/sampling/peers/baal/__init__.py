"""Baal; see __main__."""
