"""Dropserve beyond one machine, on Ray."""
