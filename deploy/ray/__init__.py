"""Dropserve beyond one machine, on Ray: see docs/ray.md."""
